//! The dialogue, on words that Bochs has said.

use std::process::{Command, Stdio};

use super::*;

const BANNER: [&str; 5] = [
    "========================================================================",
    "                        Bochs x86 Emulator 2.7",
    "Next at t=0",
    "(0) [0x0000fffffff0] f000:fff0 (unk. ctxt): jmpf 0xf000:e05b          ; ea5be000f0",
    "(1) [0x0000fffffff0] f000:fff0 (unk. ctxt): jmpf 0xf000:e05b          ; ea5be000f0",
];

const CONNECTION: (u16, u16) = (0xbb3a, 0xb09f);

fn connection() -> Connection {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Connection { ours: address(CONNECTION.0), theirs: address(CONNECTION.1) }
}

/// What is heard behind the banner of a machine with two CPUs, and the answers that were sent on.
fn hear(lines: &[&str], interrupted: bool) -> (Vec<String>, Vec<String>) {
    let mut cat = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let (debugger, mut talk) = Debugger::new(2, Pid::from_child(&cat), cat.stdin.take().unwrap(), connection());
    cat.wait().unwrap();
    for line in BANNER {
        assert_eq!(talk.sort(line.as_bytes()), Heard::Words, "{line}");
    }
    debugger.interrupted.store(interrupted, Ordering::Relaxed);
    let heard = lines.iter().filter_map(|line| match talk.sort(line.as_bytes()) {
        Heard::Guest(line) => Some(String::from_utf8_lossy(line).into_owned()),
        Heard::Pause => Some("(pause)".into()),
        Heard::Words => None,
    });
    (heard.collect(), debugger.answers.try_iter().collect())
}

#[test]
fn the_guests_lines_are_told_from_the_debuggers() {
    let (heard, answers) = hear(
        &[
            "[0.000000] INFO cpu: some",
            "(0) Magic breakpoint",
            "Next at t=532277605",
            "(0) [0x000000244425] 0008:ffffffff80244425 (unk. ctxt): test r13b, r13b           ; 4584ed",
            "<bochs:1> c",
            "[0.097234] INFO start: Next at t=1",
            "[0.1(1) Magic breakpoint",
            "Next at t=532277606",
            "(0) [0x000000244425] 0008:ffffffff80244425 (unk. ctxt): test r13b, r13b           ; 4584ed",
            "(1) [0x000000244425] 0008:ffffffff80244425 (unk. ctxt): test r13b, r13b           ; 4584ed",
            "<bochs:2> c",
            "[0.116812] INFO start: more",
            "Next at t=532277607",
            "(0) [0x0000002c7a44] 0008:ffffffff802c7a44 (unk. ctxt): mov eax, ebx              ; 8bc3",
            "(1) Magic breakpoint",
            "(1) [0x0000002a8138] 0008:ffffffff802a8138 (unk. ctxt): mov dx, 0x00f4            ; 66baf400",
            "<bochs:3> c",
            "\x1eexit 0",
            "(0).[9851973729] [0x000000238cfd] 0008:ffffffff80238cfd (unk. ctxt): out dx, al    ; ee",
        ],
        false,
    );
    let start = "[0.097234] INFO start: Next at t=1";
    let more = "[0.116812] INFO start: more";
    let pauses = ["[0.000000] INFO cpu: some", "(pause)", start, "(pause)", more, "(pause)", "\x1eexit 0"];
    assert_eq!(heard, pauses);
    assert_eq!(answers.len(), 5);
}

#[test]
fn an_interrupted_line_ends_what_the_guest_says() {
    let next = ["(0) [0x1] 0033:0000000000401000 (x): nop", "(1) [0x2] 0008:ffffffff80200000 (x): nop"];
    let (heard, answers) = hear(&["[0.0500Next at t=9851577469", next[0], next[1]], true);
    assert!(heard.is_empty());
    let user = |cpu| answers.iter().map(|line| in_user_mode(line, cpu)).collect::<Vec<_>>();
    assert_eq!((user(0), user(1)), (vec![Some(true), None], vec![None, Some(false)]));
}

#[test]
fn registers_and_memory_are_read() {
    assert_eq!(register("rip: ffffffff_80236a19", "rip"), Some(0xffff_ffff_8023_6a19));
    assert_eq!(register("rsp: ffffff40_00040000", "rip"), None);
    let memory_line = "0xffffffff802a4258 <bogus+       0>:\t0xffffffff\t0x80238e0000086d10";
    assert_eq!(memory(memory_line), Some((0xffff_ffff, 0x8023_8e00_0008_6d10)));
    assert_eq!(memory("<bochs:4> x /2gx 0x10"), None);
    let kernel = "(0) [0x000000236a19] 0008:ffffffff80236a19 (unk. ctxt): jmp .-4  (0xffffffff80236a17) ; ebfc";
    assert_eq!(in_user_mode(kernel, 0), Some(false));
    assert_eq!(in_user_mode("CPU0:", 0), None);
}

#[test]
fn bytes_under_way_are_seen_at_either_end() {
    let table = |sending: u32, receiving: u32| {
        format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n   \
             0: 0100007F:BB3A 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0\n   \
             1: 0100007F:B09F 0100007F:BB3A 01 {sending:08X}:00000005 00:00000000 00000000     0\n   \
             2: 0100007F:BB3A 0100007F:B09F 01 00000007:{receiving:08X} 00:00000000 00000000     0\n"
        )
    };
    assert!(!under_way(&table(0, 0), connection()));
    assert!(under_way(&table(1, 0), connection()));
    assert!(under_way(&table(0, 16), connection()));
    assert!(!under_way("", connection()));
}
