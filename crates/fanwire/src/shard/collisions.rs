//! Topic names chosen to collide, and what they cost: counted, not timed.
//!
//! Source  Crosby and Wallach 2003, "Denial of Service via Algorithmic Complexity Attacks"

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{Hash, Hasher},
};

use ahash::RandomState;

use super::interest::TopicHasher;

#[test]
fn names_that_collide_in_a_fixed_hash_spread_here() {
    let polynomial: Vec<_> = (0..1 << 14).map(polynomial_twin).collect();
    assert!(polynomial.iter().all(|name| polynomial_31(name) == polynomial_31(&polynomial[0])));
    let fnv = names_with(2_000, |name| fnv_1a(name) & 0xfff == 0);
    let known_seeds = TopicHasher::new([0; 4]);
    let known = names_with(2_000, |name| known_seeds.hash(name) & 0xfff == 0);
    assert_eq!(fullest_place(&known, |name| known_seeds.hash(name) & 0xfff), 2_000, "the attack works");
    for names in [polynomial, fnv, known] {
        for seeds in [[1, 2, 3, 4], [5, 6, 7, 8]] {
            let hasher = TopicHasher::new(seeds);
            // The table's place is in the lowest bits, the filter's mask in the lowest 16.
            let places = names.len().next_power_of_two() as u64;
            let fullest = fullest_place(&names, |name| hasher.hash(name) % places);
            assert!(fullest <= 12, "{fullest} of {} names in one place", names.len());
            let fullest = fullest_place(&names, |name| hasher.hash(name) & 0xffff);
            assert!(fullest <= 8, "{fullest} of {} names share one mask", names.len());
        }
    }
}

#[test]
#[expect(clippy::mutable_key_type, reason = "equality looks at the name alone; the counter is the test's")]
fn looking_up_names_that_collide_in_a_fixed_hash_takes_one_comparison() {
    let comparisons = Cell::new(0);
    let names: Vec<_> = (0..1 << 14).map(polynomial_twin).collect();
    let counting = |name| Counted { name, comparisons: &comparisons };
    let probe = |table: &mut HashMap<Counted<'_>, (), RandomState>| {
        assert!(names.iter().all(|name| table.contains_key(&counting(name))));
        comparisons.replace(0)
    };
    let mut table = HashMap::with_hasher(RandomState::with_seeds(1, 2, 3, 4));
    table.extend(names.iter().map(|name| (counting(name), ())));
    comparisons.set(0);
    let colliding = probe(&mut table);
    // A 128th of the others in a group looks like the one that is sought.
    assert!(colliding < names.len() as u64 * 11 / 10, "{colliding} comparisons for {} names", names.len());
}

#[test]
fn servers_with_other_seeds_order_names_in_another_way() {
    let names: Vec<_> = (0..100).map(|number| format!("room:{number}")).collect();
    let order = |seeds| {
        let hasher = TopicHasher::new(seeds);
        let mut names = names.clone();
        names.sort_by_key(|name| hasher.hash(name));
        names
    };
    assert_ne!(order([1, 2, 3, 4]), order([5, 6, 7, 8]));
    assert_eq!(order([1, 2, 3, 4]), order([1, 2, 3, 4]));
}

/// A name that counts how often it is compared.
struct Counted<'a> {
    name: &'a str,
    comparisons: &'a Cell<u64>,
}

impl Hash for Counted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialEq for Counted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.comparisons.set(self.comparisons.get() + 1);
        self.name == other.name
    }
}

impl Eq for Counted<'_> {}

/// How many names have the place that most of them have.
fn fullest_place(names: &[String], place: impl Fn(&str) -> u64) -> usize {
    let mut counts = HashMap::new();
    for name in names {
        *counts.entry(place(name)).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

fn names_with(count: usize, is_chosen: impl Fn(&str) -> bool) -> Vec<String> {
    let names = (0u64..).map(|number| format!("topic:{number}"));
    names.filter(|name| is_chosen(name)).take(count).collect()
}

/// "Aa" and "BB" are one number to a polynomial of 31, and so are all words made of as many of them.
fn polynomial_twin(number: usize) -> String {
    (0..14).map(|bit| if number >> bit & 1 == 0 { "Aa" } else { "BB" }).collect()
}

fn polynomial_31(name: &str) -> u64 {
    name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
}

fn fnv_1a(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
