import { describe } from "bun:test";
import { wholeClusterMissing } from "../kube-binaries.ts";
import { kubectlMissing } from "../kubectl.ts";
import { busyboxMissing } from "./busybox.ts";
import { cgroupsMissing } from "./cgroups.ts";
import { nodeCommandMissing } from "./node.ts";

/** What is missing on this machine, and how to get it. */
async function whyNot(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "root";
  const missing = nodeCommandMissing() ?? busyboxMissing();
  if (missing !== undefined) return `${missing}; get it with: node scripts/setup.mjs cluster`;
  return kubectlMissing() ?? (await wholeClusterMissing()) ?? cgroupsMissing();
}

const missing = await whyNot();

/** `describe` for tests with a whole cluster. Where that can't be, it skips them and says why in one line. */
export function describeWithCluster(name: string, tests: () => void): void {
  if (missing !== undefined) console.error(`skipped: ${name}: needs ${missing}`);
  describe.skipIf(missing !== undefined)(name, tests);
}
