//! Tests of the kernel on a host: its calls, with frames in the test's own memory. The boot and the boundary are left out.
//!
//! A test runs in user mode, so **an instruction that only the kernel may execute ends it**: one that loads page tables,
//! segment bases or a timer, for example. What passes here touches nothing of the CPU that it runs on.

mod evicted;
mod extensions;
mod machine;
mod services;
