import type { Check } from "./check.ts";
import { AGENT_CHECKS } from "./checks/agent.ts";
import { CLOCK_CHECKS } from "./checks/clock.ts";
import { CNI_CONF_CHECKS } from "./checks/cni-conf.ts";
import { PLUGIN_CHECKS } from "./checks/cni-plugins.ts";
import { ENTRY_CHECKS } from "./checks/entries.ts";
import { FEATURE_CHECKS } from "./checks/features.ts";
import { FIREWALL_CHECKS } from "./checks/firewalls.ts";
import { INTERFACE_CHECKS } from "./checks/interfaces.ts";
import { LEASE_CHECKS } from "./checks/lease-source.ts";
import { MAC_CHECKS } from "./checks/mac-policy.ts";
import { MTU_CHECKS } from "./checks/mtu.ts";
import { OVERLAP_CHECKS } from "./checks/overlap.ts";
import { FILTER_CHECKS } from "./checks/packet-filter.ts";
import { PORT_RULE_CHECKS } from "./checks/port-rules.ts";
import { SUBNET_CHECKS } from "./checks/subnet-env.ts";
import { SYSCTL_CHECKS } from "./checks/sysctls.ts";
import { PORT_CHECKS } from "./checks/vxlan-port.ts";

/** All checks, in the order of the report. */
export const CHECKS: readonly Check[] = [
  ...AGENT_CHECKS,
  ...LEASE_CHECKS,
  ...CLOCK_CHECKS,
  ...FEATURE_CHECKS,
  ...SYSCTL_CHECKS,
  ...ENTRY_CHECKS,
  ...INTERFACE_CHECKS,
  ...MTU_CHECKS,
  ...PORT_CHECKS,
  ...OVERLAP_CHECKS,
  ...MAC_CHECKS,
  ...FILTER_CHECKS,
  ...PORT_RULE_CHECKS,
  ...FIREWALL_CHECKS,
  ...CNI_CONF_CHECKS,
  ...PLUGIN_CHECKS,
  ...SUBNET_CHECKS,
];
