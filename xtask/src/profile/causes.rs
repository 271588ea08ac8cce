//! Names for what brings a CPU into the kernel.

use syscalls::Sysno;
use trace::{Cause, Class};

/// Exceptions by vector (SDM volume 3, table 6-1).
const EXCEPTIONS: [&str; 22] = [
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor overrun",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    "exception 15",
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD error",
    "virtualisation",
    "control protection",
];

/// The cause as it stands in tables; a system call by its name alone.
pub(crate) fn name(cause: Cause) -> String {
    let number = cause.number;
    match cause.class {
        Class::SystemCall => match (abi::native::name(number.into()), Sysno::new(number.into())) {
            (Some(name), _) => format!("jotun_{name}"),
            (None, Some(call)) => call.name().to_owned(),
            (None, None) => format!("system call {number}"),
        },
        Class::Exception => match EXCEPTIONS.get(usize::from(number)) {
            Some(&name) => name.to_owned(),
            None => format!("exception {number}"),
        },
        Class::Interrupt => match u8::try_from(number).ok().and_then(abi::vectors::name) {
            Some(name) => format!("{name} interrupt"),
            None => format!("interrupt {number}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_known_by_name() {
        let name = |class, number| name(Cause::new(class, number));
        assert_eq!(name(Class::SystemCall, 39), "getpid");
        assert_eq!(name(Class::SystemCall, abi::native::BURN), "jotun_burn");
        assert_eq!(name(Class::SystemCall, 1 << 40), "system call 65535");
        assert_eq!(name(Class::Exception, 14), "page fault");
        assert_eq!(name(Class::Exception, 31), "exception 31");
        assert_eq!(name(Class::Interrupt, 200), "interrupt 200");
    }
}
