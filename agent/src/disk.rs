//! Disk: work on files that blocks, kept off the threads that wait for the network.

/// Does `work` where blocking is allowed and returns what it returns.
///
/// # Cancel safety
///
/// The work goes on to its end when the future is dropped.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down: nobody waits for us any more.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
