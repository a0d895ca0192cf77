import type { Operation } from "../../kernel/operations.ts";
import { counter, countersBy, gauge, gauges, histogram, type Sample } from "./spec.ts";

/** So that a first one is seen as an increase: a counter that comes into being at 1 shows none. */
const NONE: Readonly<Record<Operation["kind"], 0>> = {
  "link-add": 0,
  "link-change": 0,
  "offload-change": 0,
  "link-delete": 0,
  "address-add": 0,
  "address-delete": 0,
  "route-replace": 0,
  "route-delete": 0,
  "blackhole-replace": 0,
  "blackhole-delete": 0,
  "neighbour-replace": 0,
  "neighbour-delete": 0,
  "forwarding-replace": 0,
  "forwarding-delete": 0,
};

/** What is wanted in the kernel, and what it took to bring it there. */
export const KERNEL_METRICS = {
  tartan_kernel_settled: gauge("1 while the kernel is as desired.", ({ facts }) => Number(facts.kernel.settled)),
  tartan_kernel_full_reads_total: counter(
    "How often the kernel's state was read in full; in between notifications keep it up to date.",
    ({ facts }) => facts.kernel.fullReads,
  ),
  tartan_kernel_operations_total: countersBy("Operations that the kernel took.", "operation", ({ facts }) => ({
    ...NONE,
    ...facts.kernel.operations,
  })),
  tartan_kernel_operation_failures_total: countersBy(
    "Operations that the kernel refused; each is tried again.",
    "operation",
    ({ facts }) => ({ ...NONE, ...facts.kernel.refused }),
  ),
  tartan_kernel_failed_operations: gauge(
    "Operations that the kernel refused in the last reconcile.",
    ({ facts }) => facts.kernel.failures.length,
  ),
  tartan_apply_duration_seconds: histogram(
    "How long reconciles took that had something to do.",
    ({ facts }) => facts.kernel.applySeconds,
  ),
  tartan_lease_follow_duration_seconds: histogram(
    "From a change of the leases, as the source told it, to the kernel being as it wants.",
    ({ facts }) => facts.kernel.followSeconds,
  ),
  tartan_drift_found_total: counter(
    "How often something that tartan keeps in the kernel was found changed by somebody else.",
    ({ facts }) => facts.kernel.driftsFound,
  ),
  tartan_drift_repaired_total: countersBy(
    "Operations that mended what somebody else had changed in the kernel.",
    "operation",
    ({ facts }) => ({ ...NONE, ...facts.kernel.repaired }),
  ),
  tartan_desired_entries: gauges("Entries that the kernel should have.", ["kind"], ({ facts: { desired } }) => {
    if (desired === undefined) return [];
    const sum = (of: "neighbours" | "forwarding") =>
      desired.devices.reduce((total, device) => total + device[of].size, 0);
    return [
      [["route"], desired.routes.size],
      [["neighbour"], sum("neighbours")],
      [["forwarding"], sum("forwarding")],
    ];
  }),
  tartan_device_mtu_bytes: gauges("MTU of tartan's devices.", ["device", "family"], ({ facts }) =>
    (facts.desired?.devices ?? []).map(({ name, family, mtu }): Sample => [[name, `ipv${family}`], mtu]),
  ),
  tartan_external_interface_mtu_bytes: gauges(
    "MTU of the interface that carries the packets between nodes.",
    ["interface"],
    ({ facts: { external } }) => (external === undefined ? [] : [[[external.name], external.mtu]]),
  ),
};
