import { Nftables } from "../../ffi/libnftables.ts";
import { commandError, runCommand } from "../../rules/command.ts";
import type { Collection } from "./collection.ts";

/** milliseconds for one command */
const PATIENCE_MS = 10_000;

const SAVES = ["iptables", "ip6tables"].flatMap((name) => [`${name}-save`, `${name}-legacy-save`]);

/** All of the packet filters' rules: another's may be what keeps pods from reaching each other. */
export async function takeRules(into: Collection): Promise<void> {
  await into.take("rules/nftables.json", "nftables' rule set", () => {
    using nftables = new Nftables();
    return nftables.run("list ruleset");
  });
  for (const command of SAVES) {
    await into.take(`rules/${command}.txt`, `what ${command} writes`, async () => {
      const path = Bun.which(command, { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
      if (path === null) throw new Error(`${command} is not on the PATH`);
      const result = await runCommand([path], { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (result.code !== 0) throw commandError([path], result);
      return result.stdout;
    });
  }
}
