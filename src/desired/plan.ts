import type { Desired, DesiredDelta } from "./desired.ts";
import { planVxlan, replanVxlan, type VxlanInput } from "./vxlan.ts";

/** All that the desired state follows from. The leases are sorted by key. */
export type PlanInput = VxlanInput;
export type { PlanSettings } from "./vxlan.ts";

/** A desired state, what it was made from, and how it differs from the one before if little changed. */
export interface Plan {
  readonly input: PlanInput;
  readonly desired: Desired;
  readonly delta?: DesiredDelta;
}

/**
 * The desired state of the kernel. Pure: the same input gives the same desired state, whatever was before. A new backend
 * gets its file and a case.
 * @param before an earlier plan: with few changed leases its parts are used again
 */
export function plan(input: PlanInput, before?: Plan): Plan {
  switch (input.network.backend.type) {
    case "vxlan": {
      const again = before && replanVxlan(before, input);
      return again ? { input, ...again } : { input, desired: planVxlan(input) };
    }
  }
}
