//! Lua as its authors publish it: runs a script, with arguments.
//!
//! Run by: `tests/tests/boot/real.rs`.

use mlua::{Lua, Result, Table};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| panic!("lua SCRIPT [ARGUMENT…]"));
    let lua = Lua::new();
    let given: Table = lua.create_sequence_from(arguments)?;
    given.set(0, path.as_str())?;
    lua.globals().set("arg", given)?;
    lua.load(std::path::Path::new(&path)).exec()
}
