//! The crate against its twin in PyTorch float64 (`make.py`, which says what each file holds).

mod calibration;
mod check;
mod layers;
mod losses;
mod models;
mod weighting;
