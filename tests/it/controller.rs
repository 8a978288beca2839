//! Controller: that it is made once, survives its own death and is the same afterwards.

use anyhow::Result;
use lazarette_tests::Controller;

#[test]
fn a_controller_that_was_killed_starts_again() -> Result<()> {
    let mut controller = Controller::up("killed")?;
    assert!(controller.passphrase().len() > 20, "no passphrase: {}", controller.passphrase());

    controller.kill()?;
    controller.start()?;

    controller.stop()?;
    assert_eq!(controller.log().unexpected(), Vec::<String>::new());
    Ok(())
}
