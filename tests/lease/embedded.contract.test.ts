import { leaseSourceContract } from "./contract.ts";
import { EmbeddedSample } from "./embedded-sample.ts";

for (const families of [[4], [6], [4, 6]] as const) {
  const capabilities = { allocating: true, expiring: true };
  leaseSourceContract("embedded store", capabilities, async () => new EmbeddedSample(), families);
}
