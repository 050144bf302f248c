//! Tests of the planner: tables of cases, and whole lives under faults.

mod money;
mod plan;
mod simulation;
mod world;
