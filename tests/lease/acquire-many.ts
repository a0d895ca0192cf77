// Takes leases in the embedded store at PATH for COUNT nodes from number FROM on, all at once, each with a client of its
// own, and prints the keys as JSON: `bun acquire-many.ts PATH FROM COUNT`. A process that the tests start.
import { openEmbeddedStore } from "../../src/lease/embedded.ts";
import { eventually } from "../support/wait.ts";
import { NETWORK, readSampleNetwork, requestOf } from "./samples.ts";

const [path = "", from, count] = process.argv.slice(2);
const taken = Array.from({ length: Number(count) }, async (_, i) => {
  const source = openEmbeddedStore({ readNetwork: readSampleNetwork, path });
  // As the agent does it: one whose turn for the lock does not come in time tries again.
  const take = () => source.acquire(requestOf(Number(from) + i), NETWORK, new AbortController().signal);
  const lease = await eventually(take, { within: 40_000, what: "the lease" });
  source.close();
  return lease.key;
});
process.stdout.write(JSON.stringify(await Promise.all(taken)));
