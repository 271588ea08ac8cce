//! The strategy of the uniprocessor: the boundary keeps the level, and there is nothing else to do. No other CPU can be
//! in the kernel, so entering and leaving cost nothing.

use super::{Nested, Request, Strategy, Waited};
use ::trace::Class;
use abi::strategies::UP;
use containers::CpuSet;
use core::convert::Infallible;
use cpulocal::InKernel;

/// One CPU.
pub struct Up;

impl Strategy for Up {
    const NAME: &'static str = UP;

    type Turn = Infallible;

    fn start(_cpu: &InKernel) {}

    #[inline(always)]
    fn enter(_cpu: &InKernel) -> Result<(), Infallible> {
        Ok(())
    }

    fn wait(_cpu: &InKernel, turn: Infallible, _class: Class) -> Waited {
        match turn {}
    }

    #[inline(always)]
    fn leave(_cpu: &InKernel) {}

    #[inline(always)]
    fn nested(_cpu: &InKernel, _vector: u64) -> Nested {
        Nested::Taken
    }

    #[inline(always)]
    fn request(_cpu: &InKernel, _vector: u64) -> Request {
        Request::ComesIn
    }

    fn prod(_cpu: &InKernel, cpus: CpuSet) {
        unreachable!("CPUs {cpus:?} besides the only one")
    }
}
