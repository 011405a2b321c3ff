// Calls the embedded Wix with Wix's own client, and prints what it answered; test_wix_sdk.py compares.
import { createClient, ApiKeyStrategy, AppStrategy } from '@wix/sdk';
import { reviews } from '@wix/reviews';

const { base, siteId, apiKey, app, since, until } = JSON.parse(await new Response(process.stdin).text());
const real = globalThis.fetch;
globalThis.fetch = (url, options) =>
  real(String(url).replace(/^https:\/\/(www|edge)\.wixapis\.com/, base), options);

const byKey = createClient({ auth: ApiKeyStrategy({ siteId, apiKey }), modules: { reviews } });
const byApp = createClient({ auth: AppStrategy(app), modules: { reviews } });
const ids = (page) => page.items.map((each) => each._id);
const tried = async (call) => {
  try {
    return await call();
  } catch (error) {
    return { error: String(error), code: error.details?.applicationError?.code };
  }
};

const query = () => byKey.reviews.queryReviews({ returnPrivateReviews: true });
const said = {};
const two = () => query().ge('_createdDate', new Date(since)).lt('_createdDate', new Date(until));
said.two = ids(await two().le('content.rating', 2).ascending('_createdDate').find());
said.in = ids(await query().in('_id', ['r1', 'r4']).ne('content.rating', 5).find());
said.pages = [];
for (let page = await query().ascending('_createdDate').limit(2).find(); page; ) {
  said.pages.push(ids(page));
  page = page.hasNext() ? await page.next() : null;
}
said.or = ids(await query().eq('_id', 'r0').or(query().eq('content.rating', 5)).ascending('_createdDate').find());
said.not = ids(await query().not(query().in('_id', ['r0', 'r1'])).ascending('_createdDate').find());
said.public = ids(await byKey.reviews.queryReviews().find());
said.one = await byKey.reviews.getReview('r1', { returnPrivateReviews: true });
said.missing = await tried(() => byKey.reviews.getReview('gone'));
said.count = await byKey.reviews.countReviews({ filter: { 'content.rating': { $lte: 2 } }, includePrivateReviews: true });
said.replied = await byApp.reviews.setReply('r0', 'Sorry');
said.unreplied = await byApp.reviews.removeReply('r0');
said.moderated = await byApp.reviews.updateModerationStatus('r0', { status: 'REJECTED' });
said.refused = await tried(() => byKey.reviews.setReply('r0', 'Sorry'));
said.wrongSecret = await tried(() =>
  createClient({ auth: AppStrategy({ ...app, appSecret: 'wrong' }), modules: { reviews } }).reviews.getReview('r0'));
const { headers } = await byApp.auth.getAuthHeaders();
said.token = await AppStrategy({ appId: app.appId, accessToken: headers.Authorization }).getTokenInfo();
console.log(JSON.stringify(said));
