//! A server and its clients, wherever they are.

use std::{
    cell::{Cell, RefCell},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fanwire::{
    DrainReport, DriverChoice, Handler, Listen, Network, Options, Publisher, Running, Server, Sessions,
    Stats,
    sim::{Faults, SimServer},
};

use super::{
    PATIENCE,
    client::{Client, Response, request_head},
    log::Log,
    script::{Gates, Script},
    wire::{STEPS_MAX, SimWire, TcpWire, Wire},
};

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub backend: Backend,
    pub shards: u16,
    /// Of the simulator.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Uring,
    Epoll,
    Sim,
}

impl Setup {
    pub fn is_sim(self) -> bool {
        self.backend == Backend::Sim
    }

    /// As a number of shards.
    pub fn shards(self) -> usize {
        self.shards.into()
    }
}

/// Runs a test once, or on the simulator once for each seed: some, or the one that `FANWIRE_SEED` names.
pub fn on_each_seed(backend: Backend, shards: u16, test: fn(Setup)) {
    let asked =
        std::env::var("FANWIRE_SEED").ok().map(|seed| seed.parse().expect("FANWIRE_SEED is a number"));
    let seeds = match (backend, asked) {
        (Backend::Sim, Some(seed)) => seed..=seed,
        (Backend::Sim, None) => 1..=SEEDS,
        _ => 0..=0,
    };
    for seed in seeds {
        let setup = Setup { backend, shards, seed };
        println!("{setup:?}");
        test(setup);
    }
}

/// A running server.
pub struct World<H: Handler = Script> {
    ground: Ground<H>,
    /// How many connections were adopted: the engine deals them out in turn.
    adopted: Cell<usize>,
    drain: RefCell<Option<JoinHandle<DrainReport>>>,
    pub log: Log,
    pub gates: Gates,
    pub setup: Setup,
}

enum Ground<H: Handler> {
    Real(Arc<Running<H::Value>>),
    Sim(Rc<RefCell<SimServer<H>>>),
}

impl World<Script> {
    /// A server of `Script`s.
    pub fn start(setup: Setup, options: Options) -> Self {
        Self::start_faulty(setup, options, Faults::default())
    }

    /// One on which, if it is simulated, things go wrong as `faults` says.
    pub fn start_faulty(setup: Setup, options: Options, faults: Faults) -> Self {
        let (log, gates) = (Log::default(), Gates::default());
        let make = |shard| Script { shard, log: log.clone(), gates: gates.clone() };
        let world = Self::start_with(setup, options, faults, make);
        Self { log, gates, ..world }
    }

    /// Opens a session of this name.
    pub fn client(&self, name: &str) -> Client {
        self.connect(&format!("/ws?name={}", name.replace(' ', "+")))
    }

    /// Opens a session on a certain shard, perhaps without a handshake.
    pub fn client_on(&self, shard: usize, name: &str) -> Client {
        if let Ground::Sim(server) = &self.ground {
            let client = server.borrow().connect_with(Some(shard), 64 << 10);
            let wire = Box::new(SimWire::new(server.clone(), client));
            return Client::open(wire, &request_head(&format!("/ws?name={name}"), &[])).unwrap();
        }
        let wire = loop {
            let on = self.adopted.get() % self.setup.shards();
            let wire = self.adopt(format!("{name}{}", if on == shard { "" } else { "-unused" }));
            if on == shard {
                break wire;
            }
        };
        self.until("the adopted session is open", || self.log.lock().handles.contains_key(name));
        Client::on(wire, Vec::new(), 0)
    }

    /// Waits until `on_close` has run for a session of this name, and gives how often it did and what it saw.
    #[track_caller]
    pub fn closed(&self, name: &str) -> super::Closed {
        self.until("on_close has run", || !self.log.closed(name).is_empty());
        let closed = self.log.closed(name);
        assert_eq!(closed.len(), 1, "on_close runs once: {closed:?}");
        closed.into_iter().next().unwrap()
    }
}

impl<H: Handler> World<H> {
    pub fn start_with(setup: Setup, options: Options, faults: Faults, make: impl FnMut(usize) -> H) -> Self {
        Self::start_on(setup, options, faults, None, make)
    }

    /// A server whose listener expects PROXY headers from these networks. Clients are on 127.0.0.1.
    pub fn start_behind(
        setup: Setup,
        options: Options,
        faults: Faults,
        proxies: &[&str],
        make: impl FnMut(usize) -> H,
    ) -> Self {
        let proxies = proxies.iter().map(|network| network.parse().expect("a network")).collect();
        Self::start_on(setup, options, faults, Some(proxies), make)
    }

    fn start_on(
        setup: Setup,
        options: Options,
        faults: Faults,
        proxies: Option<Vec<Network>>,
        make: impl FnMut(usize) -> H,
    ) -> Self {
        let options = options.shards(setup.shards);
        // With two shards every frame that two sessions get lies in shared pages, whatever its length.
        let options = if setup.shards == 2 { options.page_share_bytes_min(1) } else { options };
        let driver = match setup.backend {
            Backend::Uring => DriverChoice::Uring,
            Backend::Epoll => DriverChoice::Epoll,
            Backend::Sim => DriverChoice::Auto,
        };
        let ground = if setup.is_sim() {
            let server = match proxies {
                None => SimServer::new(setup.seed, options, faults, make),
                Some(proxies) => SimServer::behind(setup.seed, options, faults, proxies, make),
            };
            Ground::Sim(Rc::new(RefCell::new(server.expect("the options are possible"))))
        } else {
            let place = Listen::tcp("127.0.0.1:0").expect("an address");
            let place = match proxies {
                None => place,
                Some(proxies) => place.behind(proxies),
            };
            let server = Server::bind_all([place], options.driver(driver));
            let running = server.and_then(|server| server.start(make));
            Ground::Real(Arc::new(running.expect("the options are possible, and the driver works here")))
        };
        Self {
            ground,
            adopted: Cell::new(0),
            drain: RefCell::new(None),
            log: Log::default(),
            gates: Gates::default(),
            setup,
        }
    }

    /// The server, on real sockets.
    pub fn running(&self) -> &Running<H::Value> {
        match &self.ground {
            Ground::Real(running) => running,
            Ground::Sim(_) => panic!("a simulated server is no `Running`"),
        }
    }

    /// The simulation, if it is one.
    pub fn sim(&self) -> std::cell::RefMut<'_, SimServer<H>> {
        match &self.ground {
            Ground::Sim(server) => server.borrow_mut(),
            Ground::Real(_) => panic!("this server is real"),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.running().address()
    }

    // --- clients ---

    /// A connection on which nothing has been said yet.
    pub fn wire(&self) -> Box<dyn Wire> {
        match &self.ground {
            Ground::Real(running) => Box::new(TcpWire::connect(running.address())),
            Ground::Sim(server) => {
                let client = server.borrow().connect();
                Box::new(SimWire::new(server.clone(), client))
            }
        }
    }

    /// A connection that can hold few bytes that its client has not read.
    pub fn narrow_wire(&self) -> Box<dyn Wire> {
        match &self.ground {
            Ground::Real(running) => {
                Box::new(TcpWire::connect_with_receive_buffer(running.address(), NARROW_BYTES))
            }
            Ground::Sim(server) => {
                let client = server.borrow().connect_with(None, NARROW_BYTES);
                Box::new(SimWire::new(server.clone(), client))
            }
        }
    }

    /// Opens a session.
    pub fn connect(&self, target: &str) -> Client {
        self.try_connect(target, &[]).unwrap_or_else(|response| panic!("{target} was refused: {response:?}"))
    }

    /// Opens a session on a narrow connection.
    pub fn connect_narrow(&self, target: &str) -> Client {
        Client::open(self.narrow_wire(), &request_head(target, &[]))
            .unwrap_or_else(|response| panic!("{target} was refused: {response:?}"))
    }

    pub fn try_connect(&self, target: &str, headers: &[(&str, &str)]) -> Result<Client, Response> {
        Client::open(self.wire(), &request_head(target, headers))
    }

    /// Sends a WebSocket request and does not wait for the answer: `Client::await_open` does.
    pub fn begin_connect(&self, target: &str) -> Box<dyn Wire> {
        let mut wire = self.wire();
        wire.send(&request_head(target, &[]));
        wire
    }

    /// What the server answers to these bytes, read to the end.
    pub fn request(&self, bytes: impl AsRef<[u8]>) -> Response {
        Response::to(self.wire(), bytes.as_ref())
    }

    /// Hands over a connection that somebody else has accepted; the client's end of it.
    pub fn adopt(&self, value: H::Value) -> Box<dyn Wire> {
        self.adopt_with(value, Vec::new())
    }

    /// With bytes that were read behind the request.
    pub fn adopt_with(&self, value: H::Value, received: Vec<u8>) -> Box<dyn Wire> {
        let turn = self.adopted.replace(self.adopted.get() + 1);
        match &self.ground {
            Ground::Real(running) => {
                let (ours, theirs) = connected_pair();
                running.adopt(theirs, value, received).expect("the inbox has room");
                Box::new(TcpWire::of(ours))
            }
            Ground::Sim(server) => {
                let client = server.borrow().adopt(turn % self.setup.shards(), value, received);
                Box::new(SimWire::new(server.clone(), client.expect("the inbox has room")))
            }
        }
    }

    // --- the server ---

    pub fn publisher(&self) -> Publisher {
        match &self.ground {
            Ground::Real(running) => running.publisher(),
            Ground::Sim(server) => server.borrow().publisher(),
        }
    }

    pub fn sessions(&self) -> Sessions<H::Value> {
        match &self.ground {
            Ground::Real(running) => running.sessions(),
            Ground::Sim(server) => server.borrow().sessions(),
        }
    }

    pub fn stats(&self) -> Stats {
        match &self.ground {
            Ground::Real(running) => running.stats(),
            Ground::Sim(server) => server.borrow().stats(),
        }
    }

    /// Lets the shards work a little; on real sockets they do so anyway.
    pub fn step(&self) {
        match &self.ground {
            Ground::Real(_) => std::thread::park_timeout(Duration::from_micros(300)),
            Ground::Sim(server) => {
                server.borrow_mut().step();
            }
        }
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        let mut steps = 0;
        while !is_so() {
            let is_over = if self.setup.is_sim() { steps > STEPS_MAX } else { start.elapsed() > PATIENCE };
            assert!(!is_over, "waited in vain until {what}; {:#?}", self.stats().total);
            self.step();
            steps += 1;
        }
    }

    /// Waits until the statistics are so.
    #[track_caller]
    pub fn until_stats(&self, what: &str, is_so: impl Fn(&Stats) -> bool) {
        self.until(what, || is_so(&self.stats()));
    }

    /// Begins to drain; clients go on meanwhile.
    pub fn begin_drain(&self, deadline: Duration) {
        self.begin_end(move |running| running.drain(deadline), |server| server.begin_drain(deadline));
    }

    pub fn begin_shutdown(&self) {
        self.begin_end(Running::shutdown, SimServer::begin_shutdown);
    }

    fn begin_end(
        &self,
        real: impl FnOnce(&Running<H::Value>) -> DrainReport + Send + 'static,
        sim: impl FnOnce(&SimServer<H>),
    ) {
        match &self.ground {
            Ground::Real(running) => {
                let running = running.clone();
                *self.drain.borrow_mut() = Some(std::thread::spawn(move || real(&running)));
            }
            Ground::Sim(server) => sim(&server.borrow()),
        }
    }

    /// Waits for the end of a server that was told to end.
    pub fn ended(&self) -> DrainReport {
        match &self.ground {
            Ground::Real(_) => {
                let thread = self.drain.take().expect("it was told to end");
                self.until("the server has ended", || thread.is_finished());
                thread.join().expect("no shard has panicked")
            }
            Ground::Sim(server) => {
                self.until("the server has ended", || server.borrow().ended().is_some());
                server.borrow().ended().unwrap()
            }
        }
    }
}

/// Both ends of a loopback connection.
fn connected_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    (ours, theirs)
}

/// Seeds that each test runs on.
const SEEDS: u64 = 4;

const NARROW_BYTES: usize = 4 << 10;
