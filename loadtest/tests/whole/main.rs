//! Whole runs, inside this process and as users start them, against a server that can be wrong on purpose.
#![cfg(test)]

mod binary;
mod compare;
mod connect;
mod disturbed;
mod echo;
mod idle;
mod late;
mod processes;
mod run;
mod server;
mod topics;
mod watched;
