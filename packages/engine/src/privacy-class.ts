import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass } from './ask.ts'
import { sharesItsCache } from './prompt-caches.ts'

/** The classes, the weakest first. */
export const PRIVACY_CLASSES = [
  'standard',
  'protected',
  'private_gateway',
  'confidential',
] as const satisfies readonly PrivacyClass[]

/** Which every endpoint reaches. */
export const WEAKEST_CLASS = PRIVACY_CLASSES[0]

/**
 * The class that a call in the clear reaches at an endpoint. It is computed and never asserted: `protected` where
 * the provider keeps nothing, trains on nothing and lets no other account of MESH meet the call in its prompt cache,
 * else `standard`. What is more than that needs a sealed call. Test keys reach simulators, which keep nothing, but
 * cache as their providers do.
 */
export function classInTheClear(endpoint: Endpoint, livemode: boolean): PrivacyClass {
  return classButForCache(endpoint, livemode) === 'protected' && !sharesItsCache(endpoint)
    ? 'protected'
    : 'standard'
}

/** The same, if its provider kept the caches of MESH's accounts apart. */
export function classButForCache(endpoint: Endpoint, livemode: boolean): PrivacyClass {
  return keepsNothing(endpoint, livemode) && !mayTrain(endpoint, livemode) ? 'protected' : 'standard'
}

/** Whether a class is at least as strong as a floor. */
export function reaches(offered: PrivacyClass, floor: PrivacyClass): boolean {
  return PRIVACY_CLASSES.indexOf(offered) >= PRIVACY_CLASSES.indexOf(floor)
}

/** Whether the provider retains nothing of a call. Unknown counts as retaining. */
export function keepsNothing(endpoint: Endpoint, livemode: boolean): boolean {
  return !livemode || endpoint.dataPolicy.retention === 'none'
}

/** Whether the provider may train on a call. Unknown counts as training. */
export function mayTrain(endpoint: Endpoint, livemode: boolean): boolean {
  return livemode && endpoint.dataPolicy.training !== 'no'
}
