//! Traces made by hand, whose figures are known.

use std::collections::BTreeMap;

use serde_json::Value;
use trace::{Cause, Class, Event, FaultEnd, From, Record, Stream, To, Trace};

use super::{Profile, chrome, folded, lock, page, report::Clock, timeline::Who};

const GETPID: Cause = Cause { class: Class::SystemCall, number: 39 };
const WRITE: Cause = Cause { class: Class::SystemCall, number: 1 };
const FAULT: Cause = Cause { class: Class::Exception, number: 14 };
const TIMER: Cause = Cause { class: Class::Interrupt, number: abi::vectors::TIMER as u16 };

fn enter(cause: Cause, from: From) -> Event {
    Event::Enter { cause, from }
}

fn acquired(contended: bool) -> Event {
    Event::Acquired { depth: 1, contended }
}

fn leave(to: To) -> Event {
    Event::Leave { to }
}

pub(super) fn stream(events: &[(u64, Event)]) -> Stream {
    let records = events.iter().map(|&(stamp, event)| Record { stamp, word: event.word() }).collect();
    Stream { records, ..Stream::default() }
}

fn named(process: u32, name: &str, mut stream: Stream) -> Stream {
    for (part, bytes) in name.as_bytes().chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let event = Event::Name { process, part: part as u8 };
        stream.records.insert(part, Record { stamp: u64::from_le_bytes(word), word: event.word() });
    }
    stream
}

/// Two CPUs for 1000 cycles, from stamp 5000 on. CPU 0 is in the kernel from 100 to 400 for `getpid` and
/// from 600 to 610 for a page fault. CPU 1 asks at 200, finds the lock taken at 210, waits until 402, has the lock until 500 and is
/// idle from then to 900, when the timer comes. CPU 0 is interrupted in the kernel from 300 to 320.
fn two_cpus() -> Trace {
    let cpu0 = [
        (0, Event::Begin),
        (0, Event::Switch { thread: 7, process: 7 }),
        (100, enter(GETPID, From::User)),
        (105, acquired(false)),
        (300, enter(TIMER, From::Kernel)),
        (320, leave(To::Kernel)),
        (400, leave(To::User)),
        (600, enter(FAULT, From::User)),
        (602, acquired(false)),
        (605, Event::Fault { end: FaultEnd::Resolved, page: 0x1234 }),
        (610, leave(To::User)),
        // 30 more until CPU 1 is awake.
        (640, Event::Woken),
        (1000, Event::End),
    ];
    let cpu1 = [
        (0, Event::Switch { thread: 9, process: 8 }),
        (200, enter(WRITE, From::User)),
        (210, Event::Requested),
        (402, acquired(true)),
        (500, leave(To::Idle)),
        (900, enter(TIMER, From::Idle)),
        (903, acquired(false)),
        (950, leave(To::Idle)),
    ];
    let late = |events: &[(u64, Event)]| -> Vec<_> { events.iter().map(|(at, event)| (at + 5000, *event)).collect() };
    let streams = vec![named(7, "a-long-name", stream(&late(&cpu0))), stream(&late(&cpu1))];
    Trace { tsc_hz: 1_000_000, streams, record_cost: 20 * 1024, about: "program prog x\nmachine bochs\n".into() }
}

#[test]
fn shares_are_exact_and_add_up() {
    let report = Profile::new(two_cpus()).report;
    assert_eq!((report.wall, report.seconds), (1000, 0.001));
    let times = |index: usize| {
        let cpu = &report.cpus[index];
        [cpu.user, cpu.kernel, cpu.spin, cpu.idle]
    };
    assert_eq!(times(0), [660, 340, 0, 0]);
    assert_eq!(times(1), [200, 10 + 98 + 50, 192, 400 + 50]);
    assert!(report.sums_agree);
    assert_eq!([report.total.user, report.total.kernel, report.total.spin, report.total.idle], [860, 498, 192, 450]);
    assert_eq!(report.about, [("program".into(), "prog x".into()), ("machine".into(), "bochs".into())]);
}

#[test]
fn the_lock_is_told_by_cause_cpu_and_level() {
    let report = Profile::new(two_cpus()).report;
    let lock = &report.lock;
    assert_eq!((lock.present, lock.depth), (true, 1));
    assert_eq!((lock.all.acquisitions, lock.all.contended), (4, 1));
    assert_eq!((lock.all.wait.total, lock.all.wait.max), (192, 192));
    assert_eq!(lock.all.hold.total, 295 + 8 + 98 + 47);
    let causes: Vec<_> = lock.by_cause.iter().map(|c| (c.name.as_str(), c.figures.hold.total)).collect();
    assert_eq!(causes, [("getpid", 295), ("write", 98), ("timer interrupt", 47), ("page fault", 8)]);
    let write = &lock.by_cause[1].figures;
    assert_eq!((write.acquisitions, write.contended, write.wait.total), (1, 1, 192));
    let levels: Vec<_> = lock.by_level.iter().map(|l| (l.figures.hold.count, l.figures.hold.total)).collect();
    assert_eq!(levels, [(4, 448), (1, 20)]);
    let cpus: Vec<_> = lock.by_cpu.iter().map(|c| (c.name.as_str(), c.figures.hold.total)).collect();
    assert_eq!(cpus, [("CPU 0", 303), ("CPU 1", 145)]);
    let longest = &lock.longest_holds[0];
    assert_eq!((longest.cycles, longest.at, longest.cpu), (295, 100, 0));
    assert_eq!((longest.who.as_str(), longest.cause.as_str()), ("a-long-name/7", "getpid"));
    let [wait] = &lock.longest_waits[..] else { panic!("{:?}", lock.longest_waits) };
    assert_eq!((wait.cycles, wait.at, wait.who.as_str()), (192, 200, "8/9"));
    assert_eq!(wait.holder.as_deref(), Some("CPU 0, a-long-name/7, getpid"));
}

#[test]
fn who_made_whom_wait() {
    let blame = Profile::new(two_cpus()).report.lock.blame;
    let [pair] = &blame.causes[..] else { panic!("{:?}", blame.causes) };
    assert_eq!((pair.holder.as_str(), pair.waiter.as_str(), pair.cycles, pair.waits), ("getpid", "write", 190, 1));
    let [pair] = &blame.cpus[..] else { panic!("{:?}", blame.cpus) };
    assert_eq!((pair.holder, pair.waiter, pair.cycles, pair.waits), (0, 1, 190, 1));
    assert_eq!(blame.hand_over, 2);
}

#[test]
fn three_that_wait_in_turn_blame_all_before_them() {
    // All ask at 10; each holds for 100.
    let cpu = |number: u64| {
        let start = 10 + 100 * number;
        stream(&[
            (0, Event::Switch { thread: number as u32 + 1, process: 1 }),
            (10, enter(GETPID, From::User)),
            (start, acquired(number > 0)),
            (start + 100, leave(To::User)),
            (1000, Event::End),
        ])
    };
    let trace = Trace { tsc_hz: 1, streams: (0..3).map(cpu).collect(), ..Trace::default() };
    let report = Profile::new(trace).report;
    let pairs: Vec<_> = report.lock.blame.cpus.iter().map(|p| (p.holder, p.waiter, p.cycles)).collect();
    assert_eq!(pairs, [(0, 1, 100), (0, 2, 100), (1, 2, 100)]);
    assert_eq!((report.lock.all.wait.total, report.lock.blame.hand_over), (300, 0));
}

#[test]
fn the_counters_skew_is_bounded_and_taken_off() {
    let mut trace = two_cpus();
    let lead = 10_000;
    trace.streams[1].records.iter_mut().for_each(|record| record.stamp += lead);
    trace.streams[1].skew = lead as i64;
    trace.streams[1].skew_error = 9_999;
    let mut corrected = Profile::new(trace.clone()).report;
    assert_eq!(
        std::mem::take(&mut corrected.clocks),
        [Clock { cpu: 1, ahead: 10_000, doubt: 9_999, corrected: 10_000 }]
    );
    let mut as_is = Profile::new(two_cpus()).report;
    assert_eq!(std::mem::take(&mut as_is.clocks), [Clock { cpu: 1, ahead: 0, doubt: 0, corrected: 0 }]);
    assert_eq!(corrected, as_is);
    // What can be nothing is left alone.
    trace.streams[1].skew_error = 10_000;
    let doubtful = Profile::new(trace).report;
    assert_eq!(doubtful.clocks, [Clock { cpu: 1, ahead: 10_000, doubt: 10_000, corrected: 0 }]);
    assert_ne!(doubtful.cpus, as_is.cpus);
    // CPU 0 released at 400 and CPU 1 acquired at 402.
    let [skew] = &corrected.skew[..] else { panic!("{:?}", corrected.skew) };
    assert_eq!((skew.cpu, skew.other, skew.least, skew.most, skew.hand_overs), (0, 1, None, Some(2), 1));
}

#[test]
fn a_kernel_without_a_lock_has_visits() {
    let events = [(0, Event::Begin), (10, enter(GETPID, From::User)), (30, leave(To::User)), (100, Event::End)];
    let report = Profile::new(Trace { tsc_hz: 1, streams: vec![stream(&events)], ..Trace::default() }).report;
    assert_eq!((report.lock.present, report.lock.all.hold.total), (false, 20));
    assert_eq!([report.total.user, report.total.kernel, report.total.spin, report.total.idle], [80, 20, 0, 0]);
    let bound = report.bound.unwrap();
    assert_eq!((bound.amdahl, bound.closed_system, bound.reached), (1.0, 1.0, 1.0));
}

#[test]
fn visits_without_the_lock_are_told_apart() {
    let events = [
        (0, Event::Begin),
        (10, enter(GETPID, From::User)),
        (30, leave(To::User)),
        (40, enter(WRITE, From::User)),
        (45, acquired(false)),
        (60, leave(To::User)),
        (100, Event::End),
    ];
    let report = Profile::new(Trace { tsc_hz: 1, streams: vec![stream(&events)], ..Trace::default() }).report;
    assert_eq!((report.lock.present, report.lock.all.acquisitions, report.lock.all.hold.total), (true, 1, 15));
    assert_eq!(report.lock.by_cpu[0].figures, report.lock.all);
    let [lockless] = &report.lock.lockless[..] else { panic!("{:?}", report.lock.lockless) };
    assert_eq!((lockless.name.as_str(), lockless.figures.hold.total), ("getpid", 20));
    assert_eq!([report.total.user, report.total.kernel], [60, 40]);
}

#[test]
fn requests_answered_without_the_lock_are_the_kernels_time() {
    let events = [
        (0, Event::Begin),
        (10, enter(GETPID, From::User)),
        (30, leave(To::User)),
        (60, Event::AnsweredOutside { cycles: 20 }),
        (70, enter(GETPID, From::User)),
        (80, leave(To::Idle)),
        (90, Event::AnsweredOutside { cycles: 5 }),
        (100, Event::End),
    ];
    let report = Profile::new(Trace { tsc_hz: 1, streams: vec![stream(&events)], ..Trace::default() }).report;
    assert_eq!([report.total.user, report.total.kernel, report.total.spin, report.total.idle], [30, 55, 0, 15]);
    assert_eq!((report.counts.answered_outside_the_lock, report.counts.system_calls), (2, 2));
    // They are no visits: no CPU had to wait for them.
    assert_eq!((report.lock.all.hold.total, report.counts.interrupts), (30, 0));
}

#[test]
fn only_the_region_counts() {
    let events = [
        (100, Event::Begin),
        (100, enter(GETPID, From::User)),
        (110, leave(To::User)),
        (200, enter(GETPID, From::User)),
        (205, Event::End),
        // The rest of that visit was not recorded.
        (1000, Event::Begin),
        (1000, enter(WRITE, From::User)),
        (1030, leave(To::Idle)),
        (1100, enter(TIMER, From::Idle)),
        (1150, Event::End),
    ];
    let idle = [(900, enter(TIMER, From::Idle)), (901, leave(To::Idle))];
    let trace = Trace { tsc_hz: 1, streams: vec![stream(&events), stream(&idle)], ..Trace::default() };
    let report = Profile::new(trace).report;
    assert_eq!(report.wall, 105 + 150);
    let times = |index: usize| {
        let cpu = &report.cpus[index];
        [cpu.user, cpu.kernel, cpu.spin, cpu.idle]
    };
    assert_eq!(times(0), [90, 10 + 5 + 30 + 50, 0, 70]);
    assert_eq!(times(1), [0, 0, 0, 255]);
    assert!(report.sums_agree);
}

#[test]
fn a_full_ring_ends_the_report_for_all() {
    let mut trace = two_cpus();
    trace.streams[1].records.truncate(5);
    trace.streams[1].dropped = 3;
    let profile = Profile::new(trace);
    assert_eq!((profile.report.wall, profile.report.cost.dropped), (500, 3));
    assert_eq!(profile.report.cpus[0].user, 200);
    assert!(profile.report.sums_agree);
    assert!(profile.text().contains("A ring was full"), "{}", profile.text());
}

#[test]
fn one_cpu_alone_may_have_been_recorded() {
    let mut trace = two_cpus();
    trace.streams[0].records.clear();
    trace.about.push_str("trace_cpu 1\n");
    let report = Profile::new(trace).report;
    assert_eq!(report.cpus.iter().map(|cpu| cpu.name.as_str()).collect::<Vec<_>>(), ["CPU 1"]);
}

#[test]
fn nothing_is_a_report_too() {
    let profile = Profile::new(Trace { tsc_hz: 1, streams: vec![Stream::default()], ..Trace::default() });
    assert_eq!((profile.report.wall, profile.report.cost.events), (0, 0));
    assert!(profile.text().contains("recorded: 0 cycles"));
    assert_eq!(profile.timeline.name(Who::default()), "nobody");
}

#[test]
fn what_measuring_cost_is_told() {
    let cost = Profile::new(two_cpus()).report.cost;
    // Two records hold the name.
    assert_eq!((cost.events, cost.bytes, cost.dropped), (23, 368, 0));
    assert_eq!((cost.cycles_per_event, cost.share), (Some(20.0), Some(23.0 * 20.0 / 2000.0)));
}

/// A moment of Chrome's in nanoseconds, cut off as its readers do.
fn ns(moment: &Value) -> u64 {
    (moment.as_f64().unwrap() * 1000.0) as u64
}

/// A length likewise, which is whole.
fn length(event: &Value) -> u64 {
    let ns = event["dur"].as_f64().unwrap() * 1000.0;
    assert!((ns - ns.round()).abs() < 1e-6, "{event}");
    ns.round() as u64
}

/// What is on one track, in the order of the file.
fn track(events: &[Value], track: u64) -> Vec<&Value> {
    events.iter().filter(|event| event["tid"] == track && event["ph"] != "M").collect()
}

/// Complete events of one track: times ascend, and each event lies within those that are open as it begins.
fn assert_nested(events: &[&Value]) {
    assert!(events.is_sorted_by_key(|event| ns(&event["ts"])));
    let mut open: Vec<u64> = Vec::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let start = ns(&event["ts"]);
        let end = start + length(event);
        while open.pop_if(|end| *end <= start).is_some() {}
        assert!(open.last().is_none_or(|outer| end <= *outer), "{event} sticks out of {open:?}");
        open.push(end);
    }
}

/// Each arrow begins once and ends once, not before it begins; both within an event of their tracks.
fn assert_arrows(events: &[Value]) {
    let ends = |phase: &str| {
        let ends: Vec<_> = events.iter().filter(|event| event["ph"] == phase).collect();
        let by_id: BTreeMap<u64, &Value> = ends.iter().map(|end| (end["id"].as_u64().unwrap(), *end)).collect();
        assert_eq!(by_id.len(), ends.len(), "two `{phase}` of one arrow");
        by_id
    };
    let (begins, ends) = (ends("s"), ends("f"));
    assert!(!begins.is_empty() && begins.keys().eq(ends.keys()));
    assert!(begins.values().zip(ends.values()).all(|(begin, end)| ns(&begin["ts"]) <= ns(&end["ts"])));
    for end in begins.values().chain(ends.values()) {
        let at = ns(&end["ts"]);
        let around = track(events, end["tid"].as_u64().unwrap()).into_iter().filter(|event| event["ph"] == "X");
        let mut around = around.map(|event| (ns(&event["ts"]), length(event)));
        assert!(around.any(|(start, length)| (start..start + length).contains(&at)), "{end} is in no event");
    }
}

#[test]
fn chromes_events_nest_and_arrows_have_two_ends() {
    let profile = Profile::new(two_cpus());
    let visits = lock::in_order(&profile.timeline);
    // Cycles are no whole nanoseconds, or several.
    for hz in [1_000_000, 999_999_937, 100_000_000, 333_333_333] {
        let json = chrome::json(&profile.timeline, hz, lock::hand_overs(&visits));
        let json: Value = serde_json::from_str(&json).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        (0..2).for_each(|cpu| assert_nested(&track(events, cpu)));
        assert_arrows(events);
        let named = |name: &str| events.iter().filter(|event| event["name"] == name).count();
        assert_eq!((named("getpid"), named("spinning: write"), named("write"), named("fault")), (1, 1, 2, 1));
    }
    let json = chrome::json(&profile.timeline, 1_000_000, lock::hand_overs(&visits));
    let json: Value = serde_json::from_str(&json).unwrap();
    let arrow = |phase: &str| {
        let arrow = json["traceEvents"].as_array().unwrap().iter().find(|event| event["ph"] == phase).unwrap();
        (arrow["tid"].as_u64().unwrap(), ns(&arrow["ts"]))
    };
    assert_eq!((arrow("s"), arrow("f")), ((0, 399_999), (1, 402_000)));
}

#[test]
fn stacks_hold_all_the_time() {
    let profile = Profile::new(two_cpus());
    let stacks = folded::folded(&profile.timeline);
    let total: u64 = stacks.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(total, 2000, "{stacks}");
    for line in ["a-long-name/7;user 660", "a-long-name/7;kernel;getpid 280", "8/9;spinning;write 192"] {
        assert!(stacks.lines().any(|stack| stack == line), "{line} in\n{stacks}");
    }
    assert!(stacks.contains("a-long-name/7;kernel;getpid;timer_interrupt 20"), "{stacks}");
    let image = String::from_utf8(folded::graph(&stacks).unwrap().unwrap()).unwrap();
    assert!(image.contains("<svg") && image.contains("timer_interrupt (20 cycles, 1.00%)"), "{image}");
    assert!(folded::graph("").unwrap().is_none());
}

#[test]
fn a_programs_name_writes_nothing_but_itself() {
    let mut trace = two_cpus();
    let cpu0 = trace.streams[0].records.split_off(2);
    trace.streams[0] = named(7, "\x1b[31mred\nnew 9;x </script>\u{9b}", Stream { records: cpu0, ..Stream::default() });
    let profile = Profile::new(trace);
    let stacks = folded::folded(&profile.timeline);
    let image = String::from_utf8(folded::graph(&stacks).unwrap().unwrap()).unwrap();
    let visits = lock::in_order(&profile.timeline);
    let page = page::html(&profile.report, &profile.timeline, &visits).unwrap();
    for text in [&stacks, &image, &page, &profile.text()] {
        assert!(text.contains(r"\u{1b}[31mred\nnew") || text.contains(r"\\u{1b}[31mred\\nnew"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && !"\n\t".contains(c)), "{text}");
    }
    let line = r"\u{1b}[31mred\nnew_9_x_</script>\u{9b}/7;user 660";
    assert!(stacks.lines().any(|stack| stack == line), "{stacks}");
    assert!(!image.contains("</script>\\u{9b}") && page.matches("</script>").count() == 1);
}

#[test]
fn the_page_holds_the_report_and_nothing_ends_its_script() {
    let mut trace = two_cpus();
    trace.about = "program </script><script>alert(1)\n".into();
    let profile = Profile::new(trace);
    let visits = lock::in_order(&profile.timeline);
    let html = page::html(&profile.report, &profile.timeline, &visits).unwrap();
    assert_eq!(html.matches("<script>").count(), 2, "one of them in a text");
    assert_eq!(html.matches("</script>").count(), 1);
    let report = html.split_once("const report = ").unwrap().1.split_once(";\n").unwrap().0;
    assert_eq!(report, serde_json::to_string(&profile.report).unwrap().replace("</", "<\\/"));
    assert!(serde_json::from_str::<Value>(report).is_ok());
    for network in ["http:", "https:", "src=", "@import", "fetch("] {
        assert!(!html.contains(network), "{network}");
    }
}

/// Two calls of `getpid` by thread 7 under the application kernel. The first begins on CPU 1, which gives the thread up at
/// 200, and ends on CPU 2, 30 cycles after the answer; CPU 2 watches for the answer to the second.
fn application() -> Trace {
    let thread = Event::Switch { thread: 7, process: 7 };
    let boot = [
        (0, Event::Begin),
        (0, thread),
        (180, enter(GETPID, From::User)),
        (240, leave(To::User)),
        (420, enter(GETPID, From::User)),
        (440, leave(To::User)),
        (1000, Event::End),
    ];
    let first = [
        (5, thread),
        (10, leave(To::User)),
        (100, enter(GETPID, From::User)),
        (150, Event::Posted),
        (200, leave(To::Idle)),
    ];
    let woken = Cause { class: Class::Interrupt, number: u16::from(abi::vectors::REQUEST) };
    let second = [
        (280, enter(woken, From::Idle)),
        (284, thread),
        (285, Event::Replied { cycles: 15 }),
        (300, leave(To::User)),
        (400, enter(GETPID, From::User)),
        (410, Event::Posted),
        (450, Event::Replied { cycles: 0 }),
        (460, leave(To::User)),
    ];
    let streams = vec![stream(&boot), stream(&first), stream(&second)];
    Trace { tsc_hz: 1_000_000_000, streams, about: "strategy application\n".into(), ..Trace::default() }
}

#[test]
fn forwarded_calls_are_followed_from_trap_to_return() {
    let profile = Profile::new(application());
    let report = &profile.report;
    let shares: Vec<_> =
        report.cpus.iter().map(|cpu| (cpu.name.as_str(), [cpu.user, cpu.kernel, cpu.spin, cpu.idle])).collect();
    let expected = [
        ("CPU 0", [920, 80, 0, 0]),
        ("CPU 1 (application)", [90, 60, 50, 800]),
        ("CPU 2 (application)", [640, 40, 40, 280]),
    ];
    assert_eq!(shares, expected);
    assert!(report.sums_agree && report.bound.is_none());
    assert_eq!(report.lock.all.hold.count, 2, "visits to the kernel are those of the boot CPU");
    let [getpid] = &report.forwarded[..] else { panic!("one name: {:?}", report.forwarded) };
    let totals = [&getpid.all, &getpid.waiting, &getpid.made].map(|of| (of.count, of.total));
    assert_eq!((getpid.name.as_str(), totals), ("getpid", [(2, 200 + 60), (2, 120 + 40), (2, 60 + 20)]));
    assert!(profile.text().contains("Forwarded to the boot CPU"));
    let arrows: Vec<_> = super::forwarded::arrows(&profile.timeline.forwarded).collect();
    let there_and_back = [[(1, 150), (0, 180)], [(0, 240), (2, 270)], [(2, 410), (0, 420)], [(0, 440), (2, 450)]];
    assert_eq!(arrows, there_and_back);
    let json: Value =
        serde_json::from_str(&chrome::json(&profile.timeline, 1_000_000_000, std::iter::empty())).unwrap();
    let flows = json["traceEvents"].as_array().unwrap().iter().filter(|event| event["cat"] == "message");
    assert_eq!(flows.map(|flow| flow["tid"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 2, 2, 2]);
    page::html(report, &profile.timeline, &[]).expect("a page");
}

/// A call that has not come back when the recording ends is not counted, nor an exception that no message followed.
#[test]
fn what_has_not_come_back_is_left_out() {
    let mut trace = application();
    trace.streams[2].records.truncate(6);
    let profile = Profile::new(trace);
    assert_eq!(profile.report.forwarded[0].all.count, 1);
    let mut without = application();
    without.streams.iter_mut().for_each(|stream| stream.records.retain(|record| record.word != Event::Posted.word()));
    assert!(Profile::new(without).report.forwarded.is_empty());
}
