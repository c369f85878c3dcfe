//! One step from the parts of a batch.

use anyhow::Result;
use tch::Tensor;

use super::noise::Part;
use super::step::Rates;
use super::worker::StepReport;

/// What a batch of `batch` examples reports, computed in parts of at most `most`: the mean of the parts' losses, metrics and gradients,
/// which are means over examples themselves, and the rates of all examples. A batch of one part is left as it is.
///
/// # Errors
/// Those of `report` and of libtorch.
pub fn in_parts(batch: usize, most: usize, mut report: impl FnMut(Part) -> Result<StepReport>) -> Result<StepReport> {
    let mut sum: Option<StepReport> = None;
    for part in Part::split(batch, most) {
        let share = part.share();
        let next = report(part)?;
        sum = Some(tch::no_grad(|| match sum.take() {
            _ if share >= 1.0 => Ok(next),
            None => scaled(next, share),
            Some(sum) => joined(sum, scaled(next, share)?),
        })?);
    }
    Ok(sum.expect("a batch has a part"))
}

fn scaled(mut report: StepReport, share: f64) -> Result<StepReport> {
    let _ = report.gradient.values.f_mul_scalar_(share)?;
    report.loss = report.loss.f_mul_scalar(share)?;
    for (_, value) in &mut report.metrics {
        *value = value.f_mul_scalar(share)?;
    }
    Ok(report)
}

fn joined(mut sum: StepReport, next: StepReport) -> Result<StepReport> {
    let _ = sum.gradient.values.f_add_(&next.gradient.values)?;
    for (present, also) in sum.gradient.present.iter_mut().zip(&next.gradient.present) {
        *present |= also;
    }
    sum.loss = sum.loss.f_add(&next.loss)?;
    // What is drawn for a whole batch is the same for all parts, so they report the same things.
    debug_assert!(sum.metrics.iter().map(|(name, _)| name).eq(next.metrics.iter().map(|(name, _)| name)));
    for ((_, value), (_, other)) in sum.metrics.iter_mut().zip(&next.metrics) {
        *value = value.f_add(other)?;
    }
    sum.rates = Rates {
        qualities: [&sum.rates.qualities[..], &next.rates.qualities].concat(),
        bpp: Tensor::f_cat(&[&sum.rates.bpp, &next.rates.bpp], 0)?,
    };
    Ok(sum)
}
