//! Writes the seeds of the target `state`, which are made anew with each build: `seeds FOLDER`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| "seeds".into());
    std::fs::create_dir_all(&folder)?;
    for (n, seed) in paramedic_fuzz::targets::state::seeds().iter().enumerate() {
        std::fs::write(Path::new(&folder).join(format!("made-{n:02}.json")), seed.to_string())?;
    }
    Ok(())
}
