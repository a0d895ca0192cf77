import { familyOf } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import type { Link } from "./state.ts";

/** Set as the alias of the devices that tartan made or took over (ip-link(8)). */
export const OWN_ALIAS = "tartan";

/** Names that flanneld and tartan give their VXLAN devices. */
const DEVICE_NAME = /^flannel(-v6)?\.\d+$/;

/** Whether a VXLAN device is ours to keep in order, and its entries to follow: by name as flannel's, or by our mark. */
export function isOwnDevice(link: { readonly name: string; readonly kind: string; readonly alias: string }): boolean {
  return link.kind === "vxlan" && (link.alias === OWN_ALIAS || DEVICE_NAME.test(link.name));
}

/** The family that a VXLAN device carries its packets over: that of its source, else the one that flannel's name says. */
export function familyOfDevice({ name, vxlan }: Pick<Link, "name" | "vxlan">): Family {
  if (vxlan?.local !== undefined) return familyOf(vxlan.local);
  return name.startsWith("flannel-v6.") ? 6 : 4;
}
