//! Whole groups in one process: a network of function calls, disks in memory.

mod attack;
mod group;
mod measure;
mod order;
mod unguarded;
mod world;
