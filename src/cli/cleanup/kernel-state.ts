import { readFileSync } from "node:fs";
import { parseSubnetFile } from "../../config/subnet-env.ts";
import { KernelRemoval } from "../../kernel/removal.ts";
import type { PerFamily } from "../../net/family.ts";
import type { Prefix } from "../../net/prefix.ts";
import type { Findings } from "./item.ts";

/**
 * VXLAN devices and routes.
 * @param subnetFile tells this node's subnets, before it is removed
 * @throws Error if libnl is missing, KernelError
 */
export function findKernelState(subnetFile: string): Findings {
  const removal = new KernelRemoval();
  const items = removal.find(subnetsIn(subnetFile)).map((object) => ({
    kind: object.kind,
    name: object.name,
    remove: () => removal.remove(object),
  }));
  return { items, problems: [], close: () => removal[Symbol.dispose]() };
}

function subnetsIn(path: string): PerFamily<Prefix> {
  try {
    return parseSubnetFile(readFileSync(path, "utf8"));
  } catch {
    // Without it only routes with our own protocol numbers can be told from others'.
    return {};
  }
}
