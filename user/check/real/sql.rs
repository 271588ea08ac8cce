//! SQLite as its authors publish it: makes a database in the file system, changes it by transactions, queries it.
//!
//! Run by: `tests/tests/boot/real.rs`.

use rusqlite::{Connection, Result, params};

/// Rows of the larger table.
const ROWS: i64 = 2_000;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/test.db".into());
    let mut database = Connection::open(&path)?;
    println!("SQLite {}", rusqlite::version());
    database.execute_batch(
        "PRAGMA journal_mode = DELETE;
         CREATE TABLE kinds (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
         CREATE TABLE things (id INTEGER PRIMARY KEY, kind INTEGER REFERENCES kinds, size REAL, text TEXT);
         CREATE INDEX by_size ON things (kind, size);",
    )?;
    let filling = database.transaction()?;
    for (id, name) in ["stone", "leaf", "river", "cloud"].iter().enumerate() {
        filling.execute("INSERT INTO kinds VALUES (?1, ?2)", params![id as i64, name])?;
    }
    for id in 0..ROWS {
        let size = (id * 7919 % 1009) as f64 / 8.0;
        filling.execute("INSERT INTO things VALUES (?1, ?2, ?3, ?4)", params![id, id * 31 % 4, size, "x".repeat(id as usize % 50)])?;
    }
    filling.commit()?;
    // What is taken back is not there.
    let undone = database.transaction()?;
    undone.execute("DELETE FROM things WHERE size > 10", [])?;
    undone.rollback()?;
    database.execute("UPDATE things SET text = text || '!' WHERE kind = 2 AND size < 50", [])?;
    println!("twice the same name: {}", database.execute("INSERT INTO kinds VALUES (9, 'leaf')", []).unwrap_err());
    let mut query = database.prepare(
        "SELECT name, count(*), round(avg(size), 3), max(length(text)), group_concat(DISTINCT substr(text, -1))
         FROM things JOIN kinds ON kinds.id = kind GROUP BY name ORDER BY name",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (name, count, mean): (String, i64, f64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (longest, ends): (i64, Option<String>) = (row.get(3)?, row.get(4)?);
        println!("{name}: {count} of {mean} on the average, texts of up to {longest}, ending in {ends:?}");
    }
    drop(rows);
    drop(query);
    database.execute_batch("DELETE FROM things WHERE id % 3 = 0; VACUUM;")?;
    database.close().map_err(|(_, error)| error)?;
    // Another look, from the file alone.
    let database = Connection::open(&path)?;
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let left: i64 = database.query_row("SELECT count(*) FROM things", [], |row| row.get(0))?;
    println!("{left} left, {} bytes, integrity {check}", std::fs::metadata(&path).map_or(0, |file| file.len()));
    Ok(())
}
