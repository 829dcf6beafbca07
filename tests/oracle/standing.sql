-- Features of the day itself, one row per customer.
with
rates as (select currency, rate_on, rate from fx_rates where known_on <= $as_of),
closing as (select currency, arg_max(rate, rate_on) as closing_rate from rates where rate_on <= $as_of group by currency),
items as (
    select i.*, case when i.currency = $reporting then 1.0 else r.rate end as rate,
           case when i.currency = $reporting then 1.0 else c.closing_rate end as closing_rate
    from invoices i asof left join rates r on i.currency = r.currency and i.issued_on >= r.rate_on
    left join closing c on i.currency = c.currency
    where i.known_on <= $as_of
),
settled as (
    select invoice_id, sum(amount) as amount from (
        select invoice_id, amount from payments where known_on <= $as_of
        union all select invoice_id, amount from write_offs where known_on <= $as_of
    ) group by invoice_id
),
disputed as (  -- a dispute without an amount is about the whole item
    select d.invoice_id, sum(coalesce(d.amount, i.amount)) as amount from disputes d join items i using (invoice_id)
    where d.known_on <= $as_of and (d.resolved_on is null or d.resolved_on > $as_of) group by d.invoice_id
),
balances_of_items as (
    select i.customer_id, i.closing_rate, round(i.amount - coalesce(s.amount, 0), 6) as left_over, $as_of - i.due_on as dpd,
           coalesce(d.amount, 0) as disputed
    from items i left join settled s using (invoice_id) left join disputed d using (invoice_id)
),
open_items as (
    select customer_id, left_over * closing_rate as balance, dpd, least(disputed, left_over) * closing_rate as disputed
    from balances_of_items where left_over > 0
),
balances as (
    select customer_id, sum(balance) as open_amount, count(*) as open_count,
           coalesce(sum(balance) filter (dpd > 0), 0) as overdue_amount,
           coalesce(sum(balance) filter (dpd between 1 and 30), 0) as overdue_1_30_amount,
           coalesce(sum(balance) filter (dpd between 31 and 60), 0) as overdue_31_60_amount,
           coalesce(sum(balance) filter (dpd between 61 and 90), 0) as overdue_61_90_amount,
           coalesce(sum(balance) filter (dpd > 90), 0) as overdue_over_90_amount,
           sum(balance * greatest(dpd, 0)) / sum(balance) as dpd_days_mean,
           sum(disputed) / sum(balance) as disputed_share,
           max(balance) / sum(balance) as largest_open_share
    from open_items group by customer_id
),
unapplied_of as (  -- rounded for each currency, in minor units of the reporting one
    select customer_id, sum(amount) as amount from (
        select customer_id, round(sum(m.amount) * any_value(case when m.currency = $reporting then 1.0 else c.closing_rate end) * $units) as amount
        from money m left join closing c on m.currency = c.currency group by customer_id, m.currency
    ) group by customer_id
),
so_late as (  -- what is past due for so many days or more, item by item in minor units
    select o.customer_id, dpd, sum(round(balance * $units)) over (partition by o.customer_id order by dpd desc) as amount
    from open_items o where dpd > 0
),
owed as (
    select o.customer_id, any_value(coalesce(u.amount, 0)) as unapplied,
           greatest(sum(round(balance * $units)) - any_value(coalesce(u.amount, 0)), 0) as owed
    from open_items o left join unapplied_of u on o.customer_id = u.customer_id group by o.customer_id
),
material as (
    select customer_id, max(dpd) as days from so_late join owed using (customer_id)
    where $amount < 0 or amount - unapplied > greatest($amount * $units, $share * owed) + 1e-6 group by customer_id
),
came_back as (  -- a payment in parts counts once; a refund is paid out by the house
    select customer_id, count(distinct payment_id) filter (age < 90) as in_90_days, count(distinct payment_id) filter (age < 365) as in_365_days
    from (
        select coalesce(i.customer_id, p.customer_id) as customer_id, p.payment_id, $as_of - p.paid_on as age
        from told_payments p left join (from told_invoices where known_on <= $as_of) i using (invoice_id)
        where p.known_on <= $as_of and (p.kind = 'returned' or p.kind = 'payment' and p.amount < 0)
          and (p.invoice_id is null or i.invoice_id is not null)
    ) group by customer_id
),
cash_of_a_year as (
    select i.customer_id, count(*) as n from payments p join items i using (invoice_id)
    where p.known_on <= $as_of and p.kind = 'payment' and $as_of - p.paid_on < 365 group by i.customer_id
),
last_scores as (
    select customer_id, source, arg_max((score - worst) / (best - worst), as_of) as share from (
        select *, cast(split_part(scale, '-', 1) as double) as worst, cast(split_part(scale, '-', 2) as double) as best
        from bureau where known_on <= $as_of and score is not null
    ) group by customer_id, source
),
scores as (select customer_id, min(share) as lowest, avg(share) as mean from last_scores group by customer_id),
sales as (
    select customer_id, sum(amount * rate) filter ($as_of - issued_on < 90) as sales_90,
           $as_of - max(issued_on) as days_since_last_invoice, $as_of - min(issued_on) as days_since_first_invoice
    from items group by customer_id
),
cash as (
    select i.customer_id, $as_of - max(p.paid_on) as days_since_last_payment
    from payments p join items i using (invoice_id)
    where p.known_on <= $as_of and p.kind = 'payment' group by i.customer_id
),
limit_known as (
    select l.customer_id, arg_max(l.amount * case when l.currency = $reporting then 1.0 else r.rate end, l.known_on) as amount
    from (from limits where known_on <= $as_of) l
    asof left join rates r on l.currency = r.currency and l.known_on >= r.rate_on group by l.customer_id
),
statement as (
    select customer_id, arg_max(equity / nullif(total_assets, 0), period_end) as equity_ratio,
           arg_max(current_assets / nullif(current_liabilities, 0), period_end) as current_ratio,
           arg_max(net_income / nullif(turnover, 0), period_end) as net_margin
    from financials where known_on <= $as_of group by customer_id
)
select customer_id, coalesce(open_amount, 0) as open_amount, coalesce(open_count, 0) as open_count,
       coalesce(overdue_amount, 0) as overdue_amount, coalesce(overdue_1_30_amount, 0) as overdue_1_30_amount,
       coalesce(overdue_31_60_amount, 0) as overdue_31_60_amount, coalesce(overdue_61_90_amount, 0) as overdue_61_90_amount,
       coalesce(overdue_over_90_amount, 0) as overdue_over_90_amount, overdue_amount / open_amount as overdue_share,
       coalesce(m.days, 0) as dpd_days, coalesce(u.amount, 0) / $units as unapplied_amount,
       coalesce(b.in_90_days, 0) as returned_payments_90d,
       coalesce(b.in_365_days, 0) / nullif(coalesce(b.in_365_days, 0) + coalesce(y.n, 0), 0) as returned_payment_share_365d,
       s.lowest as bureau_score, s.mean as bureau_score_mean, dpd_days_mean, disputed_share, largest_open_share,
       case when l.amount > 0 then coalesce(open_amount, 0) / l.amount end as utilisation,
       case when sales_90 > 0 then coalesce(open_amount, 0) / sales_90 end as open_to_sales_90d,
       days_since_last_payment, days_since_last_invoice, days_since_first_invoice,
       $as_of - registered_on as tenure_days, equity_ratio, current_ratio, net_margin
from (from customers where known_on <= $as_of)
left join balances using (customer_id) left join sales using (customer_id) left join cash using (customer_id)
left join limit_known l using (customer_id) left join statement using (customer_id)
left join unapplied_of u using (customer_id) left join material m using (customer_id) left join came_back b using (customer_id)
left join cash_of_a_year y using (customer_id) left join scores s using (customer_id)
