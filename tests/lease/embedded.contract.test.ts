import { leaseSourceContract } from "./contract.ts";
import { EmbeddedSample } from "./embedded-sample.ts";

leaseSourceContract("embedded store", { allocating: true, expiring: true }, async () => new EmbeddedSample());
