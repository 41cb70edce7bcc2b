//! Facts of the whole store.

use lamina_core::Result;

use super::{Read, Tx};

impl Read<'_> {
    /// The fact `key`, if it was ever set.
    ///
    /// # Errors
    /// Only of the database itself.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        self.one("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
    }
}

impl Tx<'_> {
    /// Sets the fact `key`.
    ///
    /// # Errors
    /// Only of the database itself.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<()> {
        self.run(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )?;
        Ok(())
    }
}
