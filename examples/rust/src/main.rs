//! A worker with one workflow that asks a person before it ships. Use `hitl` to start, list and answer it.

use std::time::Duration;

use resonate_sdk::error::Error;
use resonate_sdk::prelude::*;
use serde_json::Value;

/// 30 days. The default of the SDK is one day.
const DEADLINE: Duration = Duration::from_secs(30 * 86_400);

#[resonate_sdk::function]
async fn deploy(ctx: &Context, version: String) -> Result<String> {
    ctx.run(check, version.clone()).await?;
    match ctx.promise::<Value>().timeout(DEADLINE).await {
        Ok(answer) => {
            ctx.run(ship, version.clone()).await?;
            Ok(format!("{version} is out, approved with {answer}"))
        }
        Err(Error::Application { message }) => Ok(format!("{version} stays here: {message}")),
        Err(other) => Err(other),
    }
}

#[resonate_sdk::function]
async fn check(version: String) -> Result<()> {
    println!("checking {version}");
    Ok(())
}

#[resonate_sdk::function]
async fn ship(version: String) -> Result<()> {
    println!("shipping {version}");
    Ok(())
}

#[tokio::main]
async fn main() {
    let url = std::env::var("RESONATE_URL").unwrap_or_else(|_| "http://127.0.0.1:8001".into());
    let resonate = Resonate::new(ResonateConfig {
        url: Some(url.clone()),
        group: Some("rust".into()),
        ..Default::default()
    });
    resonate.register(deploy).expect("deploy is registered once");
    resonate.register(check).expect("check is registered once");
    resonate.register(ship).expect("ship is registered once");
    println!("serving deploy for group rust on {url}");
    tokio::signal::ctrl_c().await.expect("signals can be heard");
    resonate.stop().await.expect("the worker ends in order");
}
