import * as v from "valibot";
import { type Address, familyOf, parseAddress } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import { type Prefix, parsePrefix } from "../net/prefix.ts";
import { mustBe, parsed } from "./schema.ts";

const flag = v.optional(v.boolean(mustBe("true or false")), false);

function prefix(family: Family) {
  const parse = (text: string): Prefix | undefined => {
    const value = parsePrefix(text);
    return value?.family === family ? value : undefined;
  };
  return v.optional(parsed(parse, `an IPv${family} network in CIDR notation`));
}

function address(family: Family) {
  const parse = (text: string): Address | undefined => {
    const value = parseAddress(text);
    return value !== undefined && familyOf(value) === family ? value : undefined;
  };
  return v.optional(parsed(parse, `an IPv${family} address`));
}

function integer(min: number, max: number, allowed = `an integer from ${min} to ${max}`) {
  const message = mustBe(allowed);
  return v.pipe(v.number(message), v.integer(message), v.minValue(min, message), v.maxValue(max, message));
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields that flanneld knows at the top of net-conf.json (pkg/subnet/config.go). The backend is read on its own. */
export const NetConfSchema = v.object({
  EnableIPv4: v.optional(v.boolean(mustBe("true or false")), true),
  EnableIPv6: flag,
  EnableNFTables: flag,
  Network: prefix(4),
  IPv6Network: prefix(6),
  SubnetMin: address(4),
  SubnetMax: address(4),
  IPv6SubnetMin: address(6),
  IPv6SubnetMax: address(6),
  SubnetLen: v.optional(integer(0, 32)),
  IPv6SubnetLen: v.optional(integer(0, 128)),
  Backend: v.optional(v.custom<object>(isObject, mustBe('an object such as {"Type": "vxlan"}'))),
});

export const BackendTypeSchema = v.object({
  Type: v.optional(v.string(mustBe('a text such as "vxlan"'))),
});

/** A VNI has 24 bits, but the device's name has to fit into IFNAMSIZ: `flannel.9999999` has 15 characters. */
const VNI_MAX = 9_999_999;
/** Bytes: the smallest link (RFC 791, RFC 8200) and the encapsulation. The kernel has no IPv6 on a smaller one. */
export const UNDERLAY_MTU_MIN: Readonly<Record<Family, number>> = { 4: 68 + 50, 6: 1280 + 70 };

/** The options of flanneld's VXLAN backend on Linux (Documentation/backends.md). */
export const VxlanSchema = v.object({
  VNI: v.optional(integer(0, VNI_MAX, `an integer from 0 to ${VNI_MAX} (the device is called flannel.<VNI>)`), 1),
  Port: v.optional(integer(0, 65_535), 0),
  MTU: v.optional(
    integer(
      UNDERLAY_MTU_MIN[4],
      65_535,
      `an integer from ${UNDERLAY_MTU_MIN[4]} to 65535 (without it, the interface's is taken)`,
    ),
  ),
  GBP: flag,
  Learning: flag,
  DirectRouting: flag,
});

/** Options of the VXLAN backend on Windows, without meaning here. */
export const WINDOWS_ONLY: readonly string[] = ["Name", "MacPrefix"];
