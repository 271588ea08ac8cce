//! What each kind of machine needs and cannot do.

use std::path::Path;

use anyhow::{Result, bail};

use super::{
    Player,
    bochs::{self, Plan},
    qemu,
};
use crate::{
    options::{Accel, Kind, Machine},
    packages::Use,
};

impl Kind {
    /// The name that the user gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Icount => "icount",
            Self::Bochs => "bochs",
        }
    }

    /// Whether a tick of its clock is an instruction, so that a run is the same every time.
    pub(crate) fn counts_instructions(self) -> bool {
        matches!(self, Self::Icount | Self::Bochs)
    }

    /// Whether the image has the input that is there before the run. Bochs stops where the kernel looks for input the
    /// first time, which is later: what is there then comes at the same instruction in each run.
    pub(crate) fn has_input_ahead(self) -> bool {
        self == Self::Icount
    }
}

impl Machine {
    /// The packages that it takes; an error says why there is no such machine with that number of CPUs.
    pub(crate) fn uses(&self, cpus: u8) -> Result<&'static [Use]> {
        match self.kind() {
            Kind::Bochs => {
                bochs::check(self, cpus)?;
                return Ok(&[Use::Bochs]);
            }
            Kind::Icount if cpus != 1 => {
                bail!("--machine icount counts the instructions of one CPU: say --up or --smp 1, or --machine bochs")
            }
            Kind::Icount if self.accel == Accel::Kvm => {
                bail!("QEMU counts instructions only where it translates them: leave --accel out")
            }
            Kind::Icount | Kind::Qemu => {}
        }
        Ok(if self.uefi { &[Use::Boot, Use::Efi, Use::Ovmf] } else { &[Use::Boot] })
    }

    /// What plays it: it boots the image `iso` in the directory `dir`.
    pub(crate) fn player(&self, cpus: u8, dir: &Path, iso: &'static str) -> Result<Player> {
        Ok(match self.kind() {
            Kind::Bochs => Player::Bochs(Plan::new(self, cpus, dir.to_owned(), iso)),
            Kind::Icount => Player::Counter(qemu::arguments(self, cpus, &dir.join(iso))?),
            Kind::Qemu => Player::Qemu(qemu::arguments(self, cpus, &dir.join(iso))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_on_one_cpu() {
        let machine = Machine::of(Kind::Icount);
        assert!(machine.uses(1).is_ok());
        assert!(machine.uses(2).unwrap_err().to_string().contains("--machine bochs"));
        let with_kvm = Machine { accel: Accel::Kvm, ..machine };
        assert!(with_kvm.uses(1).unwrap_err().to_string().contains("--accel"));
    }
}
