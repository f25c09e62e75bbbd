//! A run that was interrupted goes on as if it had not been, whatever happened to its folder meanwhile.

#[path = "../bits/mod.rs"]
mod bits;
mod damage;
mod folder;
#[allow(dead_code, reason = "the tests of model files need more of it")]
#[path = "../model_file/forge.rs"]
mod forge;
mod pieces;
mod world;
