// What `npm run bench` measures: `bun tests/bench/run.ts [PART…]`; without a part, all of them. Prints JSON by part.
import { TemporaryFolder } from "../support/temp.ts";
import { benchApi } from "./api.ts";
import { benchCni } from "./cni.ts";
import { benchEtcd } from "./etcd.ts";
import { benchKernel } from "./kernel.ts";
import { benchKubernetes } from "./kube.ts";
import { benchObserve } from "./observe.ts";
import { benchRules } from "./rules.ts";
import { benchStartup } from "./startup.ts";

/** Each has a folder of its own, and returns figures. */
const PARTS: Readonly<Record<string, (folder: string) => Promise<object>>> = {
  startup: benchStartup,
  kernel: benchKernel,
  etcd: benchEtcd,
  kube: benchKubernetes,
  cni: benchCni,
  rules: benchRules,
  api: benchApi,
  observe: benchObserve,
};

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.find((name) => !Object.hasOwn(PARTS, name));
  if (unknown !== undefined) {
    console.error(`the bench has no part ${unknown}; its parts are ${Object.keys(PARTS).join(", ")}`);
    return 2;
  }
  const figures: Record<string, object> = {};
  for (const [name, bench] of Object.entries(PARTS)) {
    if (names.length > 0 && !names.includes(name)) continue;
    using folder = new TemporaryFolder();
    figures[name] = await bench(folder.path);
  }
  console.log(JSON.stringify(figures, null, 2));
  return 0;
}

process.exit(await main(process.argv.slice(2)));
