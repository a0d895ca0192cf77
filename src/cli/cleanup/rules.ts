import { describeError } from "../../base/errors.ts";
import { type BackendName, PacketFilter } from "../../rules/packet-filter.ts";
import type { Findings, Item } from "./item.ts";

const NO_RULES = { networks: {}, subnets: {}, masquerade: false, randomFully: false, forward: false };

/** Masquerade and forward rules, wherever the packet filters have them. @throws KernelError */
export function findRules(): Findings {
  const filter = new PacketFilter("iptables");
  // One removal is for all of them.
  let removing: Promise<readonly Error[]> | undefined;
  const present = Object.entries(filter.present()) as [BackendName, readonly (4 | 6)[]][];
  const items = present.flatMap(([backend, families]) =>
    families.map((family): Item => {
      return {
        kind: "rules",
        name: `IPv${family} masquerade and forward rules in ${backend}`,
        remove: async () => {
          removing ??= filter.keep(NO_RULES, AbortSignal.timeout(60_000)).then(({ leftovers }) => leftovers);
          const errors = await removing;
          if (filter.present()[backend].includes(family))
            throw new Error(errors.map(describeError).join("; ") || "they are there again");
        },
      };
    }),
  );
  return { items, problems: [], close: () => filter[Symbol.dispose]() };
}
