import type * as v from "valibot";
import type { Config, ExternalInterface } from "../../api/state.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import { byFamilyName } from "./values.ts";

export function configView({ flags, network, networkWarnings, logLevel }: Facts): v.InferOutput<typeof Config> {
  return {
    flags: { ...flags },
    network:
      network === undefined
        ? null
        : byFamilyName(network.ranges, (range) => ({ ...range, network: formatPrefix(range.network) })),
    backend:
      network === undefined
        ? null
        : { ...network.backend, port: network.backend.port ?? null, mtu: network.backend.mtu ?? null },
    nftables: network?.nftables ?? null,
    warnings: [...networkWarnings],
    logLevel,
  };
}

export function interfaceView({ external }: Pick<Facts, "external">): v.InferOutput<typeof ExternalInterface> | null {
  if (external === undefined) return null;
  const { index, name, mtu, addresses, publicIPs } = external;
  return { index, name, mtu, addresses: Object.values(addresses), publicIPs: Object.values(publicIPs) };
}
