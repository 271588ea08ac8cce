//! Takes pages away while every CPU uses them: `shootdown [rounds] [touchers] [areas]`.
//!
//! Touchers load and store words of an area without a pause. The area's owner takes some of its pages away (`munmap`,
//! `mprotect`, `mremap`, a new mapping over the old one, `madvise`), looks, and gives them back. The area's
//! [`area::Area::state`] says what a toucher may do with its pages. The owner sets it to
//! [`Taking`](area::Kind::Taking) *before* the call that takes them away, and to the new state *after* the call has
//! returned. A toucher reads the state, makes its accesses, and reads the state again: if both are equal, all
//! accesses were made in that state. So if an access succeeds that the state forbids, the kernel has left a
//! translation behind; there is no other explanation.
//!
//! The owner makes new pages of the frames that came back and looks whether they change (a *canary*), and after every
//! call that keeps the contents it compares them with what the touchers stored.
//!
//! Run by: `tests/tests/smp.rs`.

mod area;
mod owner;
mod toucher;

use area::{Area, TOUCHERS};
use owner::Owner;
use programs::cpus;
use programs::probe;
use std::sync::Barrier;
use std::thread;
use toucher::touch;

fn main() {
    let allowed = &cpus::allowed()[..];
    let cpus = allowed.len();
    let rounds = cpus::argument(1, 240);
    let owners = cpus::argument(3, if cpus > 2 { 2 } else { 1 }).max(1);
    let touchers = cpus::argument(2, cpus.saturating_sub(owners)).clamp(1, TOUCHERS);
    probe::catch_faults();
    let areas: Vec<_> = (0..owners).map(|_| Area::new(touchers)).collect();
    let before = cpus::statistic("shootdowns");
    // No thread may map anything at an address of the kernel's choosing while there are holes.
    let start = Barrier::new(touchers + owners);
    let accesses = thread::scope(|scope| {
        let areas = &areas[..];
        let start = &start;
        // Apart from each other as far as there are CPUs: side by side on one they would prove nothing.
        let place = |index: usize| cpus::stay_on(allowed[index % allowed.len()]);
        let toucher = |me| {
            scope.spawn(move || {
                place(me);
                touch(areas, me, touchers + owners > cpus, start)
            })
        };
        let threads: Vec<_> = (0..touchers).map(toucher).collect();
        for (seed, area) in areas.iter().enumerate() {
            let mut owner = Owner::new(area);
            scope.spawn(move || {
                place(touchers + seed);
                start.wait();
                owner.work(rounds, seed as u64);
            });
        }
        threads.into_iter().map(|thread| thread.join().expect("a toucher finds nothing wrong")).sum::<u64>()
    });
    if let (Some(before), Some(after)) = (before, cpus::statistic("shootdowns")) {
        println!("{} shootdowns", after - before);
    }
    println!(
        "ok shootdown: {rounds} rounds in {owners} areas, {touchers} touchers on {cpus} CPUs, {accesses} accesses"
    );
}
