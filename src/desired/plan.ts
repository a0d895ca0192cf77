import type { Desired } from "./desired.ts";
import { planVxlan, type VxlanInput } from "./vxlan.ts";

/** All that the desired state follows from. */
export type PlanInput = VxlanInput;

/** The desired state of the kernel. Pure: the same input gives the same plan. A new backend gets its file and a case. */
export function plan(input: PlanInput): Desired {
  switch (input.network.backend.type) {
    case "vxlan":
      return planVxlan(input);
  }
}
