//! Tests of the planner: tables of cases, and whole lives under faults.

mod group;
mod group_budget;
mod group_checks;
mod group_cloud;
mod group_quiet;
mod group_scale;
mod group_simulation;
mod group_world;
mod money;
mod plan;
mod schedule;
mod simulation;
mod world;
