import type { RESOURCES, ResourceName } from "../api/resources.ts";
import type { Facts } from "./facts.ts";
import type { Shown } from "./items.ts";
import type { Question } from "./question.ts";
import { Refusal } from "./refusals.ts";
import { configView, interfaceView } from "./views/config.ts";
import { eventsView } from "./views/events.ts";
import { desiredView, diffView, kernelView } from "./views/kernel.ts";
import { leasesView, ownLeaseView } from "./views/leases.ts";
import { onePeerView, peersView } from "./views/peers.ts";
import { rulesInFullView } from "./views/rules.ts";
import { stateView } from "./views/state.ts";

type ShownOf<Name extends ResourceName> = Shown<(typeof RESOURCES)[Name]["schema"]>;

/** What each resource shows of the facts. @throws Refusal where there is nothing to show */
export const VIEWS: {
  readonly [Name in ResourceName]: (facts: Facts, question: Question) => ShownOf<Name> | Promise<ShownOf<Name>>;
} = {
  state: stateView,
  config: configView,
  interface: (facts) => {
    const view = interfaceView(facts);
    if (view !== null) return view;
    throw new Refusal(503, "no interface is chosen yet; /readyz says what is in the way");
  },
  lease: ownLeaseView,
  leases: leasesView,
  desired: desiredView,
  kernel: kernelView,
  diff: diffView,
  rules: rulesInFullView,
  events: eventsView,
  peers: peersView,
  peer: onePeerView,
};
