//! Places: where the server listens, and who reaches it there.
//!
//! In      `--listen`, `--listen-proxy`, `--proxy-from`, `--socket-mode`; sockets that systemd hands over (LISTEN_FDS)
//! Out     listeners to bind; whether others than this machine's users can come
//! Bounds  those of the engine: 64 listeners
//! Source  sd_listen_fds(3); docs/operations.md

use std::{env, os::fd::OwnedFd};

use fanwire::{Listen, ListenAddress, Network};
use listenfd::ListenFd;

use crate::{
    args::{Args, is_local},
    choices::AuthKind,
    host::{Hosts, is_loopback_address},
    origin::Origins,
};

/// Where the server is to listen: first what is for clients, then what is for proxies.
///
/// Sockets that were handed over take the place of what the settings say, in `args` too.
///
/// # Errors
/// What to set, or to hand over.
pub(crate) fn take(args: &mut Args) -> Result<Vec<Listen>, String> {
    let handed = Handed::all()?;
    args.handed_over = handed.len();
    let listens = if handed.is_empty() {
        let listen = |place: &str| args.listen_on(place);
        args.client_places().into_iter().chain(args.proxy_places()).map(listen).collect::<Result<_, _>>()?
    } else {
        let (proxied, plain): (Vec<_>, Vec<_>) = handed.into_iter().partition(|one| one.is_for_proxies);
        let shown = |handed: &[Handed]| handed.iter().map(|one| one.shown.clone()).collect();
        (args.listen, args.listen_proxy) = (shown(&plain), shown(&proxied));
        plain.into_iter().chain(proxied).map(|one| Listen::socket(one.socket)).collect::<Vec<_>>()
    };
    args.check_proxies()?;
    if args.listen_proxy.is_empty() && !args.proxy_from.is_empty() {
        return Err("--proxy-from names proxies, but no address is for them: set --listen-proxy, or \
                    FileDescriptorName=proxy in the socket unit"
            .to_owned());
    }
    let clients = listens.len() - args.listen_proxy.len();
    let behind = |(index, listen): (usize, Listen)| {
        if index < clients { listen } else { listen.behind(args.proxy_from.iter().copied()) }
    };
    Ok(listens.into_iter().enumerate().map(behind).collect())
}

impl Args {
    /// Where clients come themselves. Without any word there is one on loopback.
    pub(crate) fn client_places(&self) -> Vec<&str> {
        if self.listen.is_empty() && self.listen_proxy.is_empty() {
            return vec![LISTEN_DEFAULT];
        }
        self.listen.iter().map(String::as_str).collect()
    }

    /// Where they come through proxies that say who they are.
    fn proxy_places(&self) -> impl Iterator<Item = &str> {
        self.listen_proxy.iter().map(String::as_str)
    }

    fn listen_on(&self, place: &str) -> Result<Listen, String> {
        match (place.strip_prefix(UNIX), self.socket_mode) {
            (Some(path), Some(mode)) => Ok(Listen::unix_with_mode(path, mode)),
            (Some(path), None) => Ok(Listen::unix(path)),
            (None, _) => Listen::tcp(place).map_err(|error| error.to_string()),
        }
    }

    /// # Errors
    /// What to set.
    pub(crate) fn check_proxies(&self) -> Result<(), String> {
        if self.listen_proxy.is_empty() || !self.proxy_from.is_empty() {
            return Ok(());
        }
        Err("--listen-proxy needs --proxy-from: the networks of the proxies, such as 10.0.0.0/8, or unix"
            .to_owned())
    }

    /// Whether clients may publish: as told, else only where nobody else's machine can reach the server.
    pub(crate) fn may_publish(&self, is_local: bool) -> bool {
        self.client_publish.unwrap_or(is_local)
    }

    /// Whether only this machine reaches a server that listens there. Who comes through a proxy that has to say who
    /// it is comes from elsewhere.
    pub(crate) fn is_local(&self, addresses: &[ListenAddress]) -> bool {
        let is_here = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => is_local(address.ip()),
            // Whoever may open the file is here.
            _ => true,
        };
        self.listen_proxy.is_empty() && addresses.iter().all(is_here)
    }

    /// Whether strangers may reach the server as it is set.
    ///
    /// # Errors
    /// What to set.
    pub(crate) fn check_exposure(&self) -> Result<(), String> {
        if let Some(listen) = self.api_listen.as_ref().filter(|listen| !is_loopback_address(listen))
            && self.api_token_file.is_none()
        {
            return Err(format!("everybody who reaches {listen} could use the API: set --api-token-file"));
        }
        if self.auth != AuthKind::None || self.allow_unauthenticated {
            return Ok(());
        }
        let is_here = |place: &&str| place.starts_with(UNIX) || is_loopback_address(place);
        let places = self.client_places().into_iter().filter(|place| !is_here(place));
        match places.chain(self.proxy_places()).next() {
            None => Ok(()),
            Some(place) => Err(format!(
                "everybody who reaches {place} would be let in: set --auth, or --allow-unauthenticated if that is \
                 meant"
            )),
        }
    }

    /// Which pages may connect. A server on loopback is open to every page that its user visits, so none named means
    /// same-origin, not all.
    pub(crate) fn origins(&self) -> Origins {
        let client_places = self.client_places();
        // Pages reach no socket file, and no address for proxies: they send no PROXY header.
        let reachable = client_places.iter().filter(|place| !place.starts_with(UNIX));
        Origins::new(&self.origin, self.require_origin, Hosts::new(reachable.copied(), &self.host))
    }
}

/// A socket that somebody else has made for us.
struct Handed {
    socket: OwnedFd,
    /// As the settings would have it.
    shown: String,
    is_for_proxies: bool,
}

impl Handed {
    /// All of them; none without LISTEN_FDS, or if it is meant for another process.
    fn all() -> Result<Vec<Self>, String> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        (0..handed.len())
            .map(|index| Self::take(&mut handed, index, names.next() == Some(PROXY_NAME)))
            .collect()
    }

    fn take(handed: &mut ListenFd, index: usize, is_for_proxies: bool) -> Result<Self, String> {
        let tcp = handed.take_tcp_listener(index);
        if let Ok(Some(listener)) = tcp {
            let shown = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
            return Ok(Self { socket: listener.into(), shown, is_for_proxies });
        }
        match handed.take_unix_listener(index) {
            Ok(Some(listener)) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                let shown =
                    path.map_or_else(|| "unix:@".to_owned(), |path| format!("{UNIX}{}", path.display()));
                Ok(Self { socket: listener.into(), shown, is_for_proxies })
            }
            Ok(None) | Err(_) => Err(format!(
                "descriptor {} of LISTEN_FDS is no stream socket of TCP or of a path: hand over such that listen \
                 (ListenStream= in the socket unit, Accept=no)",
                index + FIRST_DESCRIPTOR
            )),
        }
    }
}

/// A network as `--proxy-from` has it.
pub(crate) fn parse_network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: fanwire::NetworkError| error.to_string())
}

/// What stands in front of a path where an address may be as well.
pub(crate) const UNIX: &str = "unix:";

/// Where the server listens if nobody has said where.
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// `FileDescriptorName=` of sockets that proxies connect to.
const PROXY_NAME: &str = "proxy";

/// sd_listen_fds(3): behind stdin, stdout and stderr.
const FIRST_DESCRIPTOR: usize = 3;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn args(more: &[&str]) -> Args {
        Args::try_parse_from(["fanwire-server"].iter().chain(more)).unwrap()
    }

    #[test]
    fn without_a_word_there_is_one_place_on_loopback() {
        assert_eq!(args(&[]).client_places(), [LISTEN_DEFAULT]);
        assert_eq!(args(&["--listen=[::1]:1", "--listen=unix:/a"]).client_places(), ["[::1]:1", "unix:/a"]);
        assert_eq!(args(&["--listen-proxy=127.0.0.1:1"]).client_places(), [""; 0]);
    }

    #[test]
    fn strangers_come_by_any_place_that_is_not_of_this_machine() {
        for (arguments, stranger) in [
            (&[][..], None),
            (&["--listen=127.0.0.1:1", "--listen=unix:/a", "--listen=localhost:2"], None),
            (&["--listen=127.0.0.1:1", "--listen=0.0.0.0:2"], Some("0.0.0.0:2")),
            (&["--listen=10.0.0.1:1", "--auth=jwt"], None),
            (&["--listen=10.0.0.1:1", "--allow-unauthenticated"], None),
            (&["--listen-proxy=127.0.0.1:1", "--proxy-from=127.0.0.1"], Some("127.0.0.1:1")),
            (&["--listen-proxy=unix:/a", "--proxy-from=unix"], Some("unix:/a")),
        ] {
            let said = args(arguments).check_exposure();
            match stranger {
                None => assert_eq!(said, Ok(()), "{arguments:?}"),
                Some(place) => {
                    assert!(said.unwrap_err().contains(&format!("reaches {place} ")), "{arguments:?}")
                }
            }
        }
    }

    #[test]
    fn clients_publish_by_default_only_where_nobody_else_reaches_the_server() {
        let tcp = |address: &str| ListenAddress::Tcp(format!("{address}:1").parse().unwrap());
        let file = || ListenAddress::Unix("/a".into());
        let default = |addresses: &[ListenAddress]| args(&[]).is_local(addresses);
        for here in ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(default(&[tcp(here), file()]), "{here}");
        }
        for elsewhere in ["0.0.0.0", "[::]", "192.168.1.5", "[::ffff:10.0.0.0]"] {
            assert!(!default(&[tcp("127.0.0.1"), tcp(elsewhere)]), "{elsewhere}");
        }
        let behind = args(&["--listen-proxy=127.0.0.1:1", "--proxy-from=127.0.0.1"]);
        assert!(!behind.is_local(&[tcp("127.0.0.1")]));
        for (arguments, here, elsewhere) in [
            (&[][..], true, false),
            (&["--client-publish"], true, true),
            (&["--client-publish=true"], true, true),
            (&["--client-publish", "false"], false, false),
        ] {
            let args = args(arguments);
            assert_eq!((args.may_publish(true), args.may_publish(false)), (here, elsewhere), "{arguments:?}");
        }
    }

    #[test]
    fn places_for_proxies_need_to_know_them() {
        let error = args(&["--listen-proxy=127.0.0.1:1"]).check_proxies().unwrap_err();
        assert!(error.contains("--proxy-from"), "{error}");
        assert_eq!(args(&["--listen-proxy=127.0.0.1:1", "--proxy-from=::1"]).check_proxies(), Ok(()));
        let error = take(&mut args(&["--proxy-from=::1"])).unwrap_err();
        assert!(error.contains("set --listen-proxy"), "{error}");
    }

    #[test]
    fn places_that_cannot_be_are_refused() {
        for bad in [
            "--listen=unix:",
            "--listen=unix:relative.sock",
            "--listen=8080",
            "--listen-proxy=8080",
            "--proxy-from=10.0.0.1/8",
            "--proxy-from=everybody",
            "--socket-mode=432",
            "--socket-mode=0660",
            "--socket-mode=rw",
        ] {
            assert!(Args::try_parse_from(["fanwire-server", bad]).is_err(), "{bad}");
        }
        assert_eq!(args(&["--socket-mode=660"]).socket_mode, Some(0o660));
        let listed = args(&["--proxy-from=10.0.0.0/8", "--proxy-from=unix"]).proxy_from;
        assert_eq!(listed, ["10.0.0.0/8".parse().unwrap(), Network::UNIX]);
    }
}
