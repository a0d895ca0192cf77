// Uses the embedded store at PATH once and prints which of its files are still open then, as JSON; ends by itself if no
// watch and no timer is left: `bun come-and-go.ts PATH`. A process that the tests start.
import { readdirSync, readlinkSync } from "node:fs";
import { openEmbeddedStore } from "../../src/lease/embedded.ts";
import { NETWORK, readSampleNetwork, requestOf } from "./samples.ts";

function targetOf(descriptor: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    // That of the listing itself.
    return "";
  }
}

const [path = ""] = process.argv.slice(2);
const stop = new AbortController();
const source = openEmbeddedStore({ readNetwork: readSampleNetwork, path });
await source.acquire(requestOf(1), NETWORK, stop.signal);
for await (const { leases } of source.watch(NETWORK, stop.signal)) if (leases.length === 1) stop.abort();
source.close();
const open = readdirSync("/proc/self/fd").map(targetOf);
process.stdout.write(JSON.stringify(open.filter((target) => target.startsWith(path))));
