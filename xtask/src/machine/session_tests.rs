//! The session's decisions, without a machine.

use super::*;

fn listen(events: Vec<Event>, deadline: Option<Duration>) -> (End, Learnt) {
    let (sender, queue) = mpsc::channel();
    events.into_iter().for_each(|event| sender.send(event).unwrap());
    let mut learnt = Learnt::default();
    let limit = deadline.map(|after| Limit::new(std::process::id(), after));
    let end = learnt.listen(&queue, limit, &mut |_| Ok(())).unwrap();
    drop(sender);
    (end, learnt)
}

fn ended() -> [Event; 2] {
    [Event::ConsoleEnded { firmware: String::new() }, Event::LogEnded]
}

#[test]
fn a_run_ends_when_both_channels_have() {
    let mut events = vec![Event::ConsoleBegan, Event::Record(Record::Exit(3))];
    events.extend(ended());
    let (end, learnt) = listen(events, None);
    assert_eq!((end, learnt.verdict.status()), (End::Closed, Some(3)));
}

#[test]
fn records_count_that_come_after_the_console_ended() {
    let [console, log] = ended();
    let (end, learnt) = listen(vec![console, Event::Record(Record::Exit(4)), log], None);
    assert_eq!((end, learnt.verdict.status()), (End::Closed, Some(4)));
}

#[test]
fn a_silent_machine_times_out() {
    let (end, learnt) = listen(vec![Event::ConsoleBegan], Some(Duration::from_millis(20)));
    assert_eq!((end, learnt.verdict.status()), (End::TimedOut, None));
}

#[test]
fn after_the_verdict_the_deadline_counts_no_more() {
    let (end, learnt) = listen(vec![Event::Record(Record::Exit(0))], Some(Duration::ZERO));
    assert_eq!((end, learnt.verdict.status()), (End::Overdue, Some(0)));
}

#[test]
fn keys_signals_and_closed_pipes_end_a_run() {
    assert_eq!(listen(vec![Event::Leave], None).0, End::Left);
    assert_eq!(listen(vec![Event::Signal(15)], None).0, End::Signal(15));
    assert_eq!(listen(vec![Event::OutputClosed], None).0, End::OutputClosed);
}
