//! What a trained model shares between domains and tasks, and what it keeps apart.
//!
//! * [`star_distance`]: how far each domain of a STAR is from the shared network, layer by layer.
//! * [`gates`]: the weights that each gate gives its experts, over all rows and by domain.
//!
//! Both return [`Heat`] maps: named rows and columns of numbers, which display as tables, serialise, and draw as SVG
//! ([`Heat::svg`], [`GateUse::svg`]). The example `inside` does this for any run file.
//!
//! ```
//! use starple_lab::inside::star_distance;
//! use starple::data::Layout;
//! use starple::{Star, StarConfig};
//!
//! # fn main() -> starple::Result<()> {
//! let layout = Layout::new(["search", "feed"], ["click"]).field("item", 100);
//! let star = Star::new(StarConfig::builder(&layout).hidden([8]).build()?);
//! let heat = star_distance(star.net(), star.layout());
//! // At the start every domain is the shared network.
//! assert_eq!(heat.value("all weights", "search"), Some(0.0));
//! println!("{heat}");
//! # Ok(()) }
//! ```

mod figure;
mod gates;
mod heat;
mod star;

pub use gates::{GateUse, gates};
pub use heat::Heat;
pub use star::star_distance;
