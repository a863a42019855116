//! As many sessions as the printed sum has room for: the next ones hear 503, those that are in stay and get
//! everything.

use crate::{Setup, bound::Watch, client::Client, crowd::Crowd, process::Process, replaced, wait};

in_every_setup!(at_the_limit_new_ones_hear_503_and_the_old_stay);

fn at_the_limit_new_ones_hear_503_and_the_old_stay(setup: Setup) {
    let arguments = [&crate::SMALL[..], &["--sessions-max", "60"]].concat();
    let server = Process::start(setup, &replaced(&arguments));
    let watch = Watch::begin(format!("at the limit of sessions, {setup:?}"), &server);
    let mut crowd = Crowd::gather(server.address, 40, 2);
    let mut others: Vec<_> = (0..18).map(|_| Client::connect(server.address)).collect();
    for _ in 0..300 {
        let refused = Client::try_connect(server.address).err().expect("there is no place");
        assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")));
    }
    crowd.flow(300);
    others.iter_mut().for_each(Client::sync);
    // A place that becomes free is given away again.
    drop(others.pop());
    wait("the place is free", || Client::try_connect(server.address).is_ok());
    crowd.settle();
    watch.end();
}
