//! Records of what this CPU does (feature `trace`; the crate `trace` says what a record is), beside those of the boot
//! CPU's kernel and in its format.
//!
//! Each processor writes to the ring of its number, which the kernel does not use. Without the feature all of this is
//! nothing. For example, a forwarded call leaves a record when it traps, when its message is posted, when the answer is
//! seen, and when its thread goes on.

pub use work::{Ring, Stamp, begin, find};

#[cfg(not(feature = "trace"))]
mod work {
    use crate::thread::{Block, Registers};
    use extension::Kernel;

    /// No ring.
    pub struct Ring;

    impl Ring {
        pub fn of(_: u8) -> Ring {
            Ring
        }
        #[inline(always)]
        pub fn trapped(&self, _: &Registers) {}
        #[inline(always)]
        pub fn posted(&self) {}
        #[inline(always)]
        pub fn answered(&self) {}
        #[inline(always)]
        pub fn chosen(&self, _: &Block) {}
        #[inline(always)]
        pub fn returns(&self) {}
        #[inline(always)]
        pub fn idle(&self) {}
        #[inline(always)]
        pub fn woken(&self) {}
    }

    /// No moment.
    pub struct Stamp;

    impl Stamp {
        pub fn new() -> Stamp {
            Stamp
        }
        #[inline(always)]
        pub fn set(&self) {}
    }

    pub fn find(_: &Kernel) {}
    pub fn begin() {}
}

#[cfg(feature = "trace")]
mod work {
    use crate::cpu;
    use crate::thread::{Block, Registers};
    use core::cell::Cell;
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
    use extension::Kernel;
    use hardware::{clock, startup};
    use trace::layout::{self, CPU_CAPACITY, CPU_DROPPED, CPU_OFFSET, CPU_SKEW, CPU_SKEW_ERROR, VERSION_WORD};
    use trace::{Cause, Class, Event, From, Record, To};

    /// The region with the records; null: there is none.
    static REGION: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());

    /// Finds the region, before the processors are started.
    pub fn find(kernel: &Kernel) {
        let region = kernel.trace_region().and_then(|region| kernel.physical(region));
        REGION.store(region.map_or(ptr::null_mut(), ptr::NonNull::as_ptr), Relaxed);
    }

    /// The processors are up: says how their clocks differ.
    pub fn begin() {
        for cpu in cpu::all() {
            if let Some(line) = line(cpu.number) {
                let (skew, doubt) = startup::skew(cpulocal::Cpu(cpu.number));
                // SAFETY: words of the region's header, which nothing else writes.
                unsafe { (*line.add(CPU_SKEW), *line.add(CPU_SKEW_ERROR)) = (skew as u64, doubt) };
            }
        }
    }

    /// A CPU's words in the region's header, if it has a ring.
    fn line(cpu: u8) -> Option<*mut u64> {
        let region = REGION.load(Relaxed);
        // SAFETY: the region begins with its header, which says how many rings it has.
        let has_ring = !region.is_null() && unsafe { *region.add(VERSION_WORD) } >> 32 > cpu.into();
        // SAFETY: then the header has words for it.
        has_ring.then(|| unsafe { region.add(layout::cpu_words(cpu.into())) })
    }

    /// A processor's ring.
    pub struct Ring {
        next: Cell<*mut Record>,
        end: *mut Record,
        /// Where records are counted that find no room; null: there is no ring.
        dropped: *mut u64,
    }

    impl Ring {
        /// The ring of a processor.
        pub fn of(cpu: u8) -> Ring {
            let none = Ring { next: Cell::new(ptr::null_mut()), end: ptr::null_mut(), dropped: ptr::null_mut() };
            line(cpu).map_or(none, |line| {
                // SAFETY: words of the region's header, and records within the region, as they say.
                unsafe {
                    let start = REGION.load(Relaxed).byte_add(*line.add(CPU_OFFSET) as usize).cast::<Record>();
                    let end = start.add(*line.add(CPU_CAPACITY) as usize);
                    Ring { next: Cell::new(start), end, dropped: line.add(CPU_DROPPED) }
                }
            })
        }

        #[inline(always)]
        fn put(&self, event: Event) {
            let next = self.next.get();
            if next != self.end {
                // SAFETY: below the end, so within this CPU's ring.
                unsafe { next.write(Record { stamp: clock::rdtsc(), word: event.word() }) };
                self.next.set(next.wrapping_add(1));
            } else if !self.dropped.is_null() {
                // SAFETY: a word of the header, which only this CPU writes.
                unsafe { *self.dropped += 1 };
            }
        }

        /// A thread has trapped.
        pub fn trapped(&self, registers: &Registers) {
            let (class, number) = match registers.vector {
                Registers::SYSTEM_CALL => (Class::SystemCall, registers.code),
                vector @ 0..32 => (Class::Exception, vector),
                vector => (Class::Interrupt, vector),
            };
            self.put(Event::Enter { cause: Cause::new(class, number), from: From::User });
        }

        /// The thread's message is about to be posted.
        pub fn posted(&self) {
            self.put(Event::Posted);
        }

        /// The answer to the message of the running thread has been seen.
        pub fn answered(&self) {
            self.put(Event::Replied { cycles: 0 });
        }

        /// A thread has been chosen to run, which may have been answered some time ago.
        pub fn chosen(&self, block: &Block) {
            self.put(Event::Switch { thread: block.thread, process: block.process & 0xff_ffff });
            if block.has_message.load(Relaxed) {
                let cycles = clock::rdtsc().saturating_sub(block.answered_at.0.load(Relaxed));
                self.put(Event::Replied { cycles: u32::try_from(cycles).unwrap_or(u32::MAX) });
            }
        }

        /// The thread is about to return to user mode.
        pub fn returns(&self) {
            self.put(Event::Leave { to: To::User });
        }

        /// The CPU has no thread.
        pub fn idle(&self) {
            self.put(Event::Leave { to: To::Idle });
        }

        /// It has one again.
        pub fn woken(&self) {
            let cause = Cause::new(Class::Interrupt, cpu::REQUEST.into());
            self.put(Event::Enter { cause, from: From::Idle });
        }
    }

    /// When the boot CPU has answered a thread's message.
    pub struct Stamp(AtomicU64);

    impl Stamp {
        pub fn new() -> Stamp {
            Stamp(AtomicU64::new(0))
        }

        /// It is now.
        pub fn set(&self) {
            self.0.store(clock::rdtsc(), Relaxed);
        }
    }
}
