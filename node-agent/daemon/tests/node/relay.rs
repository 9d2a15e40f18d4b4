//! A network that fails: everything between agent and controller passes through here, and what passes is the test's choice.
//!
//! A stalled connection stays open and carries nothing, in one direction or in both: nobody is told, as when a machine between
//! has forgotten it.

use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What passes on connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stall {
    pub(crate) to_controller: bool,
    pub(crate) to_agent: bool,
}

/// The way between agent and controller.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// What connections that are made from now on are told to do, each by a channel of its own.
    stalls: Arc<std::sync::Mutex<watch::Sender<Stall>>>,
    /// Whether new connections are left without an answer.
    hangs: watch::Sender<bool>,
}

impl Relay {
    pub(crate) async fn start(controller: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stalls = Arc::new(std::sync::Mutex::new(watch::Sender::new(Stall::default())));
        let hangs = watch::Sender::new(false);
        let (of_all, hang) = (Arc::clone(&stalls), hangs.subscribe());
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                let stall = of_all.lock().unwrap().subscribe();
                let mut hang = hang.clone();
                tokio::spawn(async move {
                    if hang.wait_for(|hangs| !hangs).await.is_err() {
                        return;
                    }
                    let Ok(controller) = TcpStream::connect(("127.0.0.1", controller)).await else { return };
                    let (from_agent, to_agent) = agent.into_split();
                    let (from_controller, to_controller) = controller.into_split();
                    tokio::join!(
                        pass(from_agent, to_controller, stall.clone(), |stall| stall.to_controller),
                        pass(from_controller, to_agent, stall, |stall| stall.to_agent),
                    );
                });
            }
        });
        Self { port, stalls, hangs }
    }

    /// Stalls all connections that are open, for ever; later ones work.
    pub(crate) fn stall_open(&self, stall: Stall) {
        let mut stalls = self.stalls.lock().unwrap();
        stalls.send_replace(stall);
        // Without their sender they stay as they are.
        *stalls = watch::Sender::new(Stall::default());
    }

    /// Whether new connections wait for an answer.
    pub(crate) fn hang_new(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stall: watch::Receiver<Stall>,
    stalls: impl Fn(Stall) -> bool,
) {
    let mut bytes = vec![0; 65536];
    loop {
        let length = tokio::select! {
            biased;
            () = async { if stall.wait_for(|stall| stalls(*stall)).await.is_err() { std::future::pending().await } } => {
                // Both ends keep it open until they give it up by themselves.
                let (_kept, _too) = (from, to);
                return std::future::pending().await;
            }
            read = from.read(&mut bytes) => read.unwrap_or(0),
        };
        if length == 0 || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
