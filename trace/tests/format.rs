//! The format: what is written is read again, and nothing that is read does harm.

use proptest::prelude::*;
use trace::{Cause, Class, Error, Event, FaultEnd, From, Record, Stream, To, Trace, layout};

fn cause() -> impl Strategy<Value = Cause> {
    let class = prop_oneof![Just(Class::SystemCall), Just(Class::Exception), Just(Class::Interrupt)];
    (class, any::<u16>()).prop_map(|(class, number)| Cause { class, number })
}

fn event() -> impl Strategy<Value = Event> {
    let from = prop_oneof![Just(From::User), Just(From::Idle), Just(From::Kernel)];
    let to = prop_oneof![Just(To::User), Just(To::Idle), Just(To::Kernel)];
    let end = prop_oneof![
        Just(FaultEnd::Resolved),
        Just(FaultEnd::SpuriousDirectory),
        Just(FaultEnd::SpuriousTlb),
        Just(FaultEnd::Refused)
    ];
    prop_oneof![
        (cause(), from).prop_map(|(cause, from)| Event::Enter { cause, from }),
        Just(Event::Requested),
        (any::<u8>(), any::<bool>()).prop_map(|(depth, contended)| Event::Acquired { depth, contended }),
        Just(Event::Woken),
        to.prop_map(|to| Event::Leave { to }),
        (any::<u32>(), 0..1_u32 << 24).prop_map(|(thread, process)| Event::Switch { thread, process }),
        (end, 0..1_u64 << 44).prop_map(|(end, page)| Event::Fault { end, page }),
        any::<u32>().prop_map(|container| Event::DirectoryCopy { container }),
        (any::<u8>(), any::<u16>()).prop_map(|(vector, to)| Event::IpiSent { vector, to }),
        Just(Event::Answered),
        any::<u32>().prop_map(|cycles| Event::AnsweredOutside { cycles }),
        Just(Event::Posted),
        any::<u32>().prop_map(|cycles| Event::Replied { cycles }),
        (any::<u16>(), any::<u32>()).prop_map(|(cpus, cycles)| Event::Shootdown { cpus, cycles }),
        any::<u32>().prop_map(|value| Event::Mark { value }),
        Just(Event::Begin),
        Just(Event::End),
    ]
}

fn stream() -> impl Strategy<Value = Stream> {
    let records = prop::collection::vec((any::<u32>(), event()), 0..60);
    (records, any::<u64>(), any::<i64>(), any::<u64>()).prop_map(|(records, dropped, skew, skew_error)| {
        let mut now = 0;
        let mut record = |(step, event): (u32, Event)| {
            now += u64::from(step);
            Record { stamp: now, word: event.word() }
        };
        Stream { records: records.into_iter().map(&mut record).collect(), dropped, skew, skew_error }
    })
}

fn traces() -> impl Strategy<Value = Trace> {
    // Not by a regular expression: Miri takes minutes to read one.
    let about = prop::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter);
    (1..=u64::MAX, prop::collection::vec(stream(), 1..5), any::<u64>(), about)
        .prop_map(|(tsc_hz, streams, record_cost, about)| Trace { tsc_hz, streams, record_cost, about })
}

proptest! {
    #[test]
    fn events_survive(event in event()) {
        prop_assert_eq!(Event::of(event.word()), Some(event));
        prop_assert_ne!(event.word(), 0);
    }

    #[test]
    fn words_that_are_events_are_written_alike(word in any::<u64>(), kind in 0..20_u64) {
        let word = word & !0xff | kind;
        prop_assert!(Event::of(word).is_none_or(|event| event.word() == word));
    }

    #[test]
    fn files_survive(trace in traces()) {
        prop_assert_eq!(Trace::read(&trace.write()), Ok(trace));
    }

    #[test]
    fn every_cut_is_noticed(trace in traces(), at in any::<prop::sample::Index>()) {
        let bytes = trace.write();
        let cut = &bytes[..at.index(bytes.len())];
        match Trace::read(cut) {
            Err(Error::NotATrace) => prop_assert!(cut.len() < 8),
            Err(Error::Truncated { expected, found }) => {
                prop_assert!(expected > found);
                prop_assert_eq!(found, cut.len() as u64);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Whatever is wrong, the answer is a sentence or a trace that can be written and read again.
    #[test]
    fn noise_does_no_harm(trace in traces(), noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = trace.write();
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        match Trace::read(&bytes) {
            Ok(read) => prop_assert_eq!(Trace::read(&read.write()), Ok(read)),
            Err(error) => prop_assert!(error.to_string().len() > 20),
        }
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..400), begins in any::<bool>()) {
        if begins && bytes.len() >= 16 {
            bytes[..8].copy_from_slice(&layout::MAGIC.to_le_bytes());
            bytes[8..16].copy_from_slice(&(u64::from(layout::VERSION) | 2 << 32).to_le_bytes());
        }
        let _ = Trace::read(&bytes);
    }
}

/// A region as the kernel has it, its rings partly filled.
#[test]
fn a_region_is_read_like_a_file() {
    let mut words = vec![0; 1000];
    layout::prepare(&mut words, 3, 2_000_000_000);
    let capacity = layout::capacity(words.len(), 3);
    assert_eq!(capacity, (1000 - 8 - 3 * 8) / 3 / 8 * 8 / 2);
    let place = |cpu: usize| words[layout::cpu_words(cpu) + layout::CPU_OFFSET] as usize / 8;
    let places = [place(0), place(1), place(2)];
    assert!(places.iter().all(|place| place % 8 == 0), "no shared cache line: {places:?}");
    assert_eq!(places[1] - places[0], capacity * 2);
    for (index, place) in places.into_iter().enumerate() {
        for n in 0..index {
            words[place + 2 * n..][..2].copy_from_slice(&[100 + n as u64, Event::Begin.word()]);
        }
    }
    words[layout::cpu_words(2) + layout::CPU_DROPPED] = 7;
    let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    let trace = Trace::read(&bytes).unwrap();
    assert_eq!(trace.tsc_hz, 2_000_000_000);
    assert_eq!(trace.streams.iter().map(|stream| stream.records.len()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(trace.streams[2].dropped, 7);
    assert_eq!(trace.streams[2].records[1], Record { stamp: 101, word: Event::Begin.word() });
    assert_eq!(Trace::read(&trace.write()), Ok(trace));
}

#[test]
fn another_version_is_named() {
    let trace =
        Trace { tsc_hz: 1, streams: vec![Stream::default()], about: "program /bin/x y\n".into(), ..Trace::default() };
    assert_eq!(trace.about("program"), Some("/bin/x y"));
    let mut bytes = trace.write();
    bytes[8] = 77;
    let error = Trace::read(&bytes).unwrap_err();
    assert_eq!(error, Error::Version(77));
    assert!(error.to_string().contains("version 77"), "{error}");
}

#[test]
fn a_record_in_the_wrong_place_is_named() {
    let records = [9, 5].map(|stamp| Record { stamp, word: Event::Begin.word() });
    let mut trace = Trace {
        tsc_hz: 1,
        streams: vec![Stream::default(), Stream { records: records.to_vec(), ..Stream::default() }],
        ..Trace::default()
    };
    let error = Trace::read(&trace.write()).unwrap_err().to_string();
    assert_eq!(error, "the trace is corrupt: record 1 of CPU 1 is older than the one before it");
    trace.streams[1].records[1] = Record { stamp: 10, word: 0xff };
    let error = Trace::read(&trace.write()).unwrap_err().to_string();
    assert_eq!(error, "the trace is corrupt: record 1 of CPU 1 is of no known kind");
}
