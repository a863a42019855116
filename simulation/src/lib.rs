//! The engine in a simulated world: faults and workload from a seed, an oracle beside it.
//!
//! In      a seed
//! Out     what the engine did wrong, with the shortest plan found that shows it; or nothing
//! Bounds  so many operations, sessions and bytes per seed: see `plan` and `settings`
//! Source  docs/testing.md
//!
//! A [`Plan`](plan::Plan) is made from the seed alone: settings, faults, and a list of operations. A
//! [`World`](world::World) runs it: the production code of all shards in one thread, simulated peers, one
//! [`Actor`](actor::Actor) per shard as the program on top. The [`Oracle`](oracle::Oracle) hears of every call with
//! its result, and of every byte that a peer gets, and knows from plain collections what each session may see.
//!
//! ```
//! let outcome = simulation::run::seed(1);
//! assert_eq!(outcome.failure, None);
//! ```

pub mod actor;
pub mod campaign;
pub mod message;
pub mod oracle;
pub mod peer;
pub mod plan;
pub mod run;
pub mod settings;
pub mod shrink;
pub mod world;
