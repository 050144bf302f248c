//! Tests of the planner: tables of cases, and whole lives under faults.

mod plan;
mod simulation;
mod world;
