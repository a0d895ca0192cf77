import type { NetworkConfig, NetworkRange } from "../../src/config/network.ts";
import { addressFromBigInt } from "../../src/net/address.ts";
import { FAMILIES, type Family, mapFamilies, type PerFamily } from "../../src/net/family.ts";
import { nthAddress, type Prefix, rangeOf } from "../../src/net/prefix.ts";
import { desiredRules, type RulesInput } from "../../src/rules/desired.ts";
import { prefix } from "../lease/samples.ts";

export const NETWORKS: Readonly<Record<Family, Prefix>> = { 4: prefix("10.244.0.0/16"), 6: prefix("fd00:10:244::/56") };
export const SUBNETS: Readonly<Record<Family, Prefix>> = {
  4: prefix("10.244.5.0/24"),
  6: prefix("fd00:10:244:5::/64"),
};
/** of another network, which this node had before */
export const OLD_NETWORKS: Readonly<Record<Family, Prefix>> = { 4: prefix("10.9.0.0/16"), 6: prefix("fd00:9::/56") };
export const OLD_SUBNETS: Readonly<Record<Family, Prefix>> = { 4: prefix("10.9.7.0/24"), 6: prefix("fd00:9:0:7::/64") };

export function pick<T>(values: Readonly<Record<Family, T>>, families: readonly Family[]): PerFamily<T> {
  return mapFamilies(values, (value, family) => (families.includes(family) ? value : undefined));
}

function rulesInput(changes: Partial<RulesInput> = {}, families: readonly Family[] = FAMILIES): RulesInput {
  return {
    networks: pick(NETWORKS, families),
    subnets: pick(SUBNETS, families),
    masquerade: true,
    randomFully: true,
    forward: true,
    ...changes,
  };
}

export function sampleRules(changes: Partial<RulesInput> = {}, families: readonly Family[] = FAMILIES) {
  return desiredRules(rulesInput(changes, families));
}

/** A network's configuration of which the rules need the ranges and the mode. */
export function networkOf(networks: PerFamily<Prefix>, nftables: boolean): NetworkConfig {
  const range = (network: Prefix): NetworkRange => ({
    network,
    subnetLength: network.length + 8,
    subnetMin: nthAddress(network, 0n),
    subnetMax: addressFromBigInt(rangeOf(network).last, network.family),
  });
  return {
    ranges: mapFamilies(networks, range),
    backend: { type: "vxlan", vni: 1, port: undefined, gbp: false, learning: false, mtu: undefined },
    nftables,
  };
}
